#include "reshape/amend.h"

#include "unit/write/disk_rig.h"
#include "write/features.h"

/* Data, zeros with and without a place, a compressed cluster, holes. */
static void fill(struct disk_rig *t)
{
	disk_fill(t, 1, 3 * CLUSTER, 0);
	assert_int_equal(qcow2_zero(t->disk, CLUSTER, CLUSTER, 0, NULL), 0);
	assert_int_equal(qcow2_zero(t->disk, CLUSTER, 4 * CLUSTER, 0, NULL), 0);
	disk_compress(t, 9, 6);
}

static void expect_filled(struct disk_rig *t)
{
	disk_expect(t, 1, CLUSTER, 0);
	disk_expect(t, 0, CLUSTER, CLUSTER);
	disk_expect(t, 1, CLUSTER, 2 * CLUSTER);
	disk_expect(t, 0, 3 * CLUSTER, 3 * CLUSTER);
	disk_expect(t, 9, CLUSTER, 6 * CLUSTER);
}

static int amend(struct disk_rig *t, const struct qcow2_amend_opts *want)
{
	struct qcow2_amend_opts o = *want;

	o.struct_size = sizeof(o);
	return qcow2_amend(t->disk, &o, NULL);
}

static void reopen(struct disk_rig *t)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;

	assert_int_equal(qcow2_close(t->disk, NULL), 0);
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(t->file, &open, &t->disk, NULL), 0);
	t->img = t->disk->disk->layers[0].image;
}

static const struct qcow2_amend_opts to_2 = {
	.set = QCOW2_AMEND_VERSION,
	.version = 2,
};
static const struct qcow2_amend_opts to_3 = {
	.set = QCOW2_AMEND_VERSION,
	.version = 3,
};

TEST(versions_go_down_and_up)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	fill(&t);
	assert_int_equal(amend(&t, &to_2), 0);
	assert_int_equal(t.img->geo.version, 2);
	expect_filled(&t);
	reopen(&t);
	assert_int_equal(t.img->header.version, 2);
	/* No zero cluster is left: version 2 has none. */
	for (uint64_t i = 0; i < 9; i++)
		assert_true((disk_entry(&t, i).desc & L2_COMPRESSED) ||
			    !(disk_entry(&t, i).desc & L2_ZERO));
	expect_filled(&t);
	assert_int_equal(amend(&t, &to_3), 0);
	assert_int_equal(qcow2_zero(t.disk, CLUSTER, 0, 0, NULL), 0);
	disk_expect(&t, 0, CLUSTER, 0);
	disk_release(&t);
}

TEST(zeros_over_a_backing_file_stay_zeros)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	assert_int_equal(qcow2_zero(t.disk, CLUSTER, CLUSTER, 0, NULL), 0);
	assert_int_equal(amend(&t, &to_2), 0);
	disk_expect(&t, 0xbb, CLUSTER, 0);
	disk_expect(&t, 0, CLUSTER, CLUSTER);
	disk_expect(&t, 0xbb, CLUSTER, 2 * CLUSTER);
	disk_release(&t);
}

TEST(every_refcount_width_goes_to_every_other)
{
	for (unsigned from = 0; from <= 6; from++) {
		struct disk_rig t;

		disk_init(&t, (struct disk_want){ 0 });
		disk_fill(&t, 1, 3 * CLUSTER, 0);
		for (unsigned to = 0; to <= 6; to++) {
			const uint32_t bits[] = { 1u << from, 1u << to };

			for (unsigned i = 0; i < 2; i++) {
				assert_int_equal(
					amend(&t,
					      &(struct qcow2_amend_opts){
						      .set = QCOW2_AMEND_REFCOUNT_BITS,
						      .refcount_bits =
							      bits[i] }),
					0);
				assert_int_equal(t.img->geo.refcount_bits,
						 bits[i]);
			}
			disk_expect(&t, 1, 3 * CLUSTER, 0);
		}
		reopen(&t);
		disk_expect(&t, 1, 3 * CLUSTER, 0);
		disk_release(&t);
	}
}

TEST(a_refcount_that_does_not_fit_is_refused)
{
	const struct qcow2_amend_opts one_bit = {
		.set = QCOW2_AMEND_REFCOUNT_BITS,
		.refcount_bits = 1,
	};
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	fill(&t);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	assert_int_equal(amend(&t, &one_bit), -ERANGE);
	assert_int_equal(t.img->geo.refcount_bits, 16);
	expect_filled(&t);
	assert_int_equal(qcow2_snapshot_delete(t.disk, "s", NULL), 0);
	assert_int_equal(amend(&t, &one_bit), 0);
	expect_filled(&t);
	disk_release(&t);
}

TEST(contradictions_are_refused_before_anything)
{
	const struct qcow2_amend_opts wrong[] = {
		{ .set = QCOW2_AMEND_VERSION, .version = 4 },
		{ .set = QCOW2_AMEND_VERSION, .version = 1 },
		{ .set = QCOW2_AMEND_REFCOUNT_BITS, .refcount_bits = 0 },
		{ .set = QCOW2_AMEND_REFCOUNT_BITS, .refcount_bits = 3 },
		{ .set = QCOW2_AMEND_REFCOUNT_BITS, .refcount_bits = 128 },
		{ .set = QCOW2_AMEND_VERSION | QCOW2_AMEND_REFCOUNT_BITS,
		  .version = 2,
		  .refcount_bits = 8 },
		{ .set = QCOW2_AMEND_VERSION | QCOW2_AMEND_LAZY_REFCOUNTS,
		  .version = 2,
		  .lazy_refcounts = 1 },
		{ .set = QCOW2_AMEND_BACKING, .backing_file = "x" },
		{ .set = QCOW2_AMEND_BACKING, .backing_format = "raw" },
		{ .set = QCOW2_AMEND_BACKING,
		  .backing_file = "",
		  .backing_format = "raw" },
		{ .set = QCOW2_AMEND_DATA_FILE_RAW, .data_file_raw = 1 },
		{ .set = QCOW2_AMEND_SIZE, .size = CLUSTER },
		{ .set = QCOW2_AMEND_SIZE, .size = DISK + 1 },
	};
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	fill(&t);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct header before = t.img->header;

		assert_int_equal(amend(&t, &wrong[i]), -EINVAL);
		assert_memory_equal(&t.img->header, &before, sizeof(before));
	}
	expect_filled(&t);
	disk_release(&t);
}

TEST(version_2_has_no_place_for_new_features)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .data_file = true });
	assert_int_equal(amend(&t, &to_2), -ENOTSUP);
	disk_release(&t);
	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2 });
	assert_int_equal(amend(&t, &to_2), -ENOTSUP);
	disk_release(&t);
}

/* S1: QEMU would not go back to the snapshot any more. */
TEST(version_2_has_no_place_for_other_disks)
{
	const struct qcow2_amend_opts back = {
		.set = QCOW2_AMEND_SIZE | QCOW2_AMEND_VERSION,
		.flags = QCOW2_AMEND_SHRINK,
		.size = DISK,
		.version = 2,
	};
	struct disk_rig t;
	struct header before;

	disk_init(&t, (struct disk_want){ 0 });
	fill(&t);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	assert_int_equal(
		amend(&t, &(struct qcow2_amend_opts){ .set = QCOW2_AMEND_SIZE,
						      .size = DISK + CLUSTER }),
		0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	before = t.img->header;
	assert_int_equal(amend(&t, &to_2), -ENOTSUP);
	assert_memory_equal(&t.img->header, &before, sizeof(before));
	t.img->snapshots.list[0].vm_state_size = UINT32_MAX + UINT64_C(1);
	assert_int_equal(amend(&t, &back), -ENOTSUP);
	assert_int_equal(qcow2_size(t.disk), DISK + CLUSTER);
	t.img->snapshots.list[0].vm_state_size = UINT32_MAX;
	assert_int_equal(amend(&t, &back), 0);
	assert_int_equal(t.img->geo.version, 2);
	expect_filled(&t);
	disk_release(&t);
}

static int stop(void *opaque, uint64_t done, uint64_t total)
{
	unsigned *n = opaque;

	assert_true(done <= total);
	return ++*n == 1;
}

TEST(it_stops_when_it_is_told_to)
{
	struct qcow2_amend_opts o = to_2;
	struct disk_rig t;
	unsigned n = 0;

	disk_init(&t, (struct disk_want){ 0 });
	fill(&t);
	o.progress = stop;
	o.opaque = &n;
	assert_int_equal(amend(&t, &o), -ECANCELED);
	assert_int_equal(n, 1);
	assert_int_equal(t.img->geo.version, 3);
	expect_filled(&t);
	disk_release(&t);
}

TEST(a_new_size_is_part_of_it)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	fill(&t);
	assert_int_equal(
		amend(&t,
		      &(struct qcow2_amend_opts){ .set = QCOW2_AMEND_SIZE |
							 QCOW2_AMEND_VERSION,
						  .size = 20 * CLUSTER,
						  .version = 2 }),
		0);
	assert_int_equal(qcow2_size(t.disk), 20 * CLUSTER);
	expect_filled(&t);
	assert_int_equal(
		amend(&t,
		      &(struct qcow2_amend_opts){ .set = QCOW2_AMEND_SIZE,
						  .flags = QCOW2_AMEND_SHRINK,
						  .size = 7 * CLUSTER }),
		0);
	expect_filled(&t);
	disk_release(&t);
}

/* Refcounts of another width were written where the file was thought to be
 * zeros, and could not be used. */
TEST(what_a_failed_widening_wrote_is_not_taken_for_zeros)
{
	struct qcow2_amend_opts wide = { .set = QCOW2_AMEND_REFCOUNT_BITS,
					 .refcount_bits = 64 };

	for (unsigned op = 0; op < 2; op++) {
		struct fault_plan plan = {
			.ops = FAULT_ON(op ? STORE_OP_FLUSH : STORE_OP_WRITE),
			.kind = FAULT_SHORT,
			.part = UINT64_MAX,
			.code = -ENOSPC,
		};

		for (plan.nth = 1; plan.nth < 6; plan.nth++) {
			struct disk_rig t;

			disk_init(&t, (struct disk_want){ 0 });
			disk_fill(&t, 1, CLUSTER, 0);
			/* No free clusters before the end of the file. */
			reopen(&t);
			fault_arm(&t.fault, &plan);
			amend(&t, &wide);
			fault_arm(&t.fault, NULL);
			for (uint64_t i = 1; i < 8; i++) {
				if (qcow2_pwrite(t.disk, "x", 1, i * CLUSTER, 0,
						 NULL) < 0)
					break;
				disk_expect(&t, 0, CLUSTER - 1,
					    i * CLUSTER + 1);
			}
			/* A failure may cost leaks, and nothing else. */
			qcow2_close(t.disk, NULL);
			store_unref(t.file);
			store_unref(t.mem);
			store_unref(t.below);
			store_unref(t.data);
		}
	}
}

/* Version 2 has no bit for it; once it got lost when the version changed. */
TEST(an_operation_that_was_not_completed_is_not_forgotten)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .version = 2 });
	assert_int_equal(features_begin_dirty(t.img, DIRTY_OPERATION, NULL), 0);
	features_leave_to_repair(t.img);
	assert_int_equal(amend(&t, &to_3), 0);
	assert_true(t.img->header.incompatible_features & INCOMPAT_DIRTY);
	assert_int_equal(amend(&t, &to_2), -ENOTSUP);
	assert_true(t.img->header.incompatible_features & INCOMPAT_DIRTY);
	assert_int_equal(qcow2_close(t.disk, NULL), 0);
	store_unref(t.file);
	store_unref(t.mem);
}
