#include "write/entry.h"

#include "disk_rig.h"
#include "write/features.h"

enum { SUB = CLUSTER / 32 };

static const struct l2_entry nothing = { 0, 0 };

/* Entries of clusters 0 and 1 after data was written there. */
static struct l2_entry written(struct disk_rig *t, uint64_t len, uint64_t off)
{
	disk_fill(t, 1, len, off);
	return disk_entry(t, off / CLUSTER);
}

TEST(only_unshared_data_is_overwritten_in_place)
{
	struct disk_rig t;
	struct l2_entry e;

	disk_init(&t, (struct disk_want){ 0 });
	e = written(&t, CLUSTER, CLUSTER);
	assert_int_equal(entry_in_place(t.img, e, CLUSTER), CLUSTER);
	assert_int_equal(entry_in_place(t.img, e, 2 * CLUSTER - 512), 512);
	e.desc &= ~ENTRY_COPIED;
	assert_int_equal(entry_in_place(t.img, e, CLUSTER), 0);
	e.desc |= ENTRY_COPIED | L2_ZERO;
	assert_int_equal(entry_in_place(t.img, e, CLUSTER), 0);
	assert_int_equal(entry_in_place(t.img, nothing, CLUSTER), 0);
	disk_compress(&t, 2, 3);
	assert_int_equal(entry_in_place(t.img, disk_entry(&t, 3), 3 * CLUSTER),
			 0);
	disk_release(&t);
}

TEST(in_place_ends_with_the_subclusters_that_are_there)
{
	struct disk_rig t;
	struct l2_entry e;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2 });
	e = written(&t, 2 * SUB, 4 * SUB);
	assert_int_equal(e.bitmap, SUB_ALLOC_RANGE(4, 6));
	assert_int_equal(entry_in_place(t.img, e, 4 * SUB), 2 * SUB);
	assert_int_equal(entry_in_place(t.img, e, 5 * SUB + 100), SUB - 100);
	assert_int_equal(entry_in_place(t.img, e, 6 * SUB), 0);
	assert_int_equal(entry_in_place(t.img, e, 0), 0);
	disk_release(&t);
}

TEST(a_cluster_is_copied_around_its_data)
{
	struct entry_plan p;
	struct disk_rig t;
	struct l2_entry e;

	disk_init(&t, (struct disk_want){ .backing = true });
	entry_plan_init(t.img, &p, nothing, CLUSTER);
	assert_false(p.keeps_host);
	assert_false(p.reads_zero);
	assert_int_equal(entry_copy_begin(t.img, &p, CLUSTER + 1000), CLUSTER);
	assert_int_equal(entry_copy_end(t.img, &p, CLUSTER + 2000),
			 2 * CLUSTER);
	e = entry_new(t.img, &p, 7 * CLUSTER, CLUSTER + 1000, 1000);
	assert_true(e.desc == ((7 * CLUSTER) | ENTRY_COPIED));
	assert_int_equal(e.bitmap, 0);
	disk_release(&t);
}

TEST(what_is_below_decides_whether_nothing_is_zeros)
{
	struct entry_plan p;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	entry_plan_init(t.img, &p, nothing, 0);
	assert_true(p.reads_zero);
	assert_true(entry_below_is_zero(t.img, 0));
	disk_release(&t);
	disk_init(&t, (struct disk_want){ .backing = true });
	assert_false(entry_below_is_zero(t.img, DISK - 1));
	assert_true(entry_below_is_zero(t.img, DISK));
	entry_plan_init(t.img, &p, (struct l2_entry){ L2_ZERO, 0 }, 0);
	assert_true(p.reads_zero);
	disk_release(&t);
}

TEST(subclusters_are_copied_no_further_than_needed)
{
	struct entry_plan p;
	struct disk_rig t;
	struct l2_entry e;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2,
					  .backing = true });
	e = written(&t, 2 * SUB, 4 * SUB);
	e.bitmap |= SUB_ZERO(7);
	entry_plan_init(t.img, &p, e, 0);
	assert_true(p.keeps_host);
	/* A write that begins in data and ends in a subcluster of zeros. */
	assert_int_equal(entry_copy_begin(t.img, &p, 5 * SUB + 100),
			 5 * SUB + 100);
	assert_int_equal(entry_copy_begin(t.img, &p, 6 * SUB + 100), 6 * SUB);
	assert_int_equal(entry_copy_end(t.img, &p, 7 * SUB + 100), 8 * SUB);
	assert_int_equal(entry_copy_end(t.img, &p, 5 * SUB + 100),
			 5 * SUB + 100);
	e = entry_new(t.img, &p, l2_host_off(e), 5 * SUB + 100, 2 * SUB);
	assert_true(e.bitmap == SUB_ALLOC_RANGE(4, 8));
	disk_release(&t);
}

/* S6: subclusters without data stay so. */
TEST(of_a_shared_cluster_the_data_moves)
{
	struct entry_plan p;
	struct disk_rig t;
	struct l2_entry e;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2 });
	e = written(&t, SUB, 4 * SUB);
	e.bitmap |= SUB_ALLOC(20) | SUB_ZERO(9) | SUB_ZERO(10);
	e.desc &= ~ENTRY_COPIED;
	entry_plan_init(t.img, &p, e, 0);
	assert_false(p.keeps_host);
	assert_false(p.copy_all);
	assert_int_equal(entry_copy_begin(t.img, &p, 9 * SUB + 5), 4 * SUB);
	assert_int_equal(entry_copy_begin(t.img, &p, 2 * SUB + 5), 2 * SUB);
	assert_int_equal(entry_copy_end(t.img, &p, 10 * SUB - 5), 21 * SUB);
	assert_int_equal(entry_copy_end(t.img, &p, 22 * SUB - 5), 22 * SUB);
	e = entry_new(t.img, &p, 7 * CLUSTER, 9 * SUB + 5, SUB - 10);
	assert_true(e.bitmap == (SUB_ALLOC(4) | SUB_ALLOC(9) | SUB_ALLOC(20) |
				 SUB_ZERO(10)));
	disk_release(&t);
}

TEST(a_write_beside_a_snapshot_moves_what_has_data)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2,
					  .backing = true });
	disk_fill(&t, 1, SUB, 4 * SUB);
	disk_fill(&t, 2, SUB, 20 * SUB);
	assert_int_equal(qcow2_zero(t.disk, SUB, 10 * SUB, 0, NULL), 0);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", &opts, NULL), 0);
	disk_fill(&t, 3, 100, 9 * SUB + 7);
	assert_true(disk_entry(&t, 0).bitmap == (SUB_ALLOC(4) | SUB_ALLOC(9) |
						 SUB_ALLOC(20) | SUB_ZERO(10)));
	disk_expect(&t, 0xbb, 4 * SUB, 0);
	disk_expect(&t, 1, SUB, 4 * SUB);
	disk_expect(&t, 0xbb, 4 * SUB + 7, 5 * SUB);
	disk_expect(&t, 3, 100, 9 * SUB + 7);
	disk_expect(&t, 0xbb, SUB - 107, 9 * SUB + 107);
	disk_expect(&t, 0, SUB, 10 * SUB);
	disk_expect(&t, 0xbb, 9 * SUB, 11 * SUB);
	disk_expect(&t, 2, SUB, 20 * SUB);
	disk_expect(&t, 0xbb, 11 * SUB, 21 * SUB);
	/* The bytes left between them are nobody's data. */
	disk_fill(&t, 4, 10, 6 * SUB + 3);
	disk_expect(&t, 0xbb, SUB + 3, 5 * SUB);
	disk_expect(&t, 4, 10, 6 * SUB + 3);
	disk_expect(&t, 0xbb, SUB - 13, 6 * SUB + 13);
	disk_release(&t);
}

TEST(what_is_freed_waits_for_the_commit)
{
	struct disk_rig t;
	struct l2_entry e;

	disk_init(&t, (struct disk_want){ 0 });
	e = written(&t, CLUSTER, 0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(qcow2_discard(t.disk, CLUSTER, 0, 0, NULL), 0);
	assert_int_equal(disk_count(&t, l2_host_off(e)), 1);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, l2_host_off(e)), 0);
	/* An entry without a place frees nothing. */
	assert_int_equal(
		commit_begin(&t.img->writer->commit, ENTRY_FREED_MAX, NULL), 0);
	entry_free(t.img, nothing, false);
	entry_free(t.img, (struct l2_entry){ L2_ZERO, 0 }, false);
	assert_int_equal(t.img->writer->commit.freed.n, 0);
	commit_end(&t.img->writer->commit);
	disk_release(&t);
}

static void expect_refused(struct l2_entry e)
{
	struct qcow2_error err = { 0 };
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(entry_check(t.img, nothing, 0, &err), 0);
	assert_int_equal(entry_check(t.img, e, 0, &err), -EIO);
	assert_true(err.defect != 0);
	assert_true(t.img->header.incompatible_features & INCOMPAT_CORRUPT);
	/* Nothing is changed from then on. */
	assert_true(commit_begin(&t.img->writer->commit, 1, NULL) < 0);
	assert_int_not_equal(qcow2_close(t.disk, NULL), 0);
	store_unref(t.file);
	store_unref(t.mem);
}

TEST(an_entry_that_cannot_be_marks_the_image)
{
	expect_refused((struct l2_entry){ CLUSTER / 2 | ENTRY_COPIED, 0 });
	expect_refused(
		(struct l2_entry){ (UINT64_C(1) << 50) | ENTRY_COPIED, 0 });
	expect_refused((struct l2_entry){ UINT64_C(1) << 57 | CLUSTER, 0 });
	expect_refused(
		(struct l2_entry){ L2_COMPRESSED | UINT64_C(1) << 50, 0 });
}
