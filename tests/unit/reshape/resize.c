#include "reshape/resize.h"

#include "unit/write/disk_rig.h"

static int resize(struct disk_rig *t, uint64_t size, uint32_t flags)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;

	opts.flags = flags;
	return qcow2_resize(t->disk, size, &opts, NULL);
}

TEST(what_it_grows_by_reads_as_zeros)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, DISK, 0);
	assert_int_equal(resize(&t, 20 * CLUSTER, 0), 0);
	assert_int_equal(qcow2_size(t.disk), 20 * CLUSTER);
	disk_expect(&t, 3, DISK, 0);
	disk_expect(&t, 0, 20 * CLUSTER - DISK, DISK);
	disk_fill(&t, 4, CLUSTER, 19 * CLUSTER);
	disk_release(&t);
}

/* The backing file has 8 clusters and a bit, in version 2 without a way to
 * say zeros. */
TEST(a_longer_backing_file_does_not_show)
{
	for (uint32_t version = 2; version <= 3; version++) {
		struct disk_rig t;

		disk_init(&t, (struct disk_want){ .version = version,
						  .backing = true });
		assert_int_equal(
			resize(&t, 2 * CLUSTER + 512, QCOW2_RESIZE_SHRINK), 0);
		disk_expect(&t, 0xbb, 2 * CLUSTER + 512, 0);
		assert_int_equal(resize(&t, DISK, 0), 0);
		disk_expect(&t, 0xbb, 2 * CLUSTER + 512, 0);
		disk_expect(&t, 0, DISK - 2 * CLUSTER - 512, 2 * CLUSTER + 512);
		disk_release(&t);
	}
}

TEST(what_is_cut_off_does_not_come_back)
{
	struct disk_rig t;
	uint64_t host_off;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 5, DISK, 0);
	host_off = l2_host_off(disk_entry(&t, 4));
	assert_int_equal(resize(&t, CLUSTER + 1024, QCOW2_RESIZE_SHRINK), 0);
	assert_int_equal(disk_count(&t, host_off), 0);
	disk_expect(&t, 5, CLUSTER + 1024, 0);
	assert_int_equal(resize(&t, DISK, 0), 0);
	disk_expect(&t, 5, CLUSTER + 1024, 0);
	disk_expect(&t, 0, DISK - CLUSTER - 1024, CLUSTER + 1024);
	disk_release(&t);
}

/* The bytes of the file at the place of guest offset @off, past any reader. */
static void expect_stored(struct disk_rig *t, uint8_t byte, uint64_t len,
			  uint64_t off)
{
	uint64_t host =
		l2_host_off(disk_entry(t, off / CLUSTER)) + off % CLUSTER;
	uint8_t *bytes = malloc(len);

	assert_true(host > CLUSTER);
	assert_int_equal(store_pread(t->mem, bytes, len, host, 0, NULL), 0);
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(bytes[i], byte);
	free(bytes);
}

/* T8: QEMU does not zero the part of the last cluster by which a disk grows. */
TEST(the_rest_of_the_last_cluster_becomes_zeros)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 5, DISK, 0);
	assert_int_equal(resize(&t, CLUSTER + 1024, QCOW2_RESIZE_SHRINK), 0);
	expect_stored(&t, 5, 1024, CLUSTER);
	expect_stored(&t, 0, CLUSTER - 1024, CLUSTER + 1024);
	disk_expect(&t, 5, CLUSTER + 1024, 0);
	/* There is nothing to zero in the end of a cluster. */
	assert_int_equal(resize(&t, CLUSTER, QCOW2_RESIZE_SHRINK), 0);
	expect_stored(&t, 5, CLUSTER, 0);
	disk_release(&t);
}

TEST(the_rest_of_a_compressed_cluster_becomes_zeros)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_compress(&t, 7, 1);
	assert_int_equal(resize(&t, CLUSTER + 1024, QCOW2_RESIZE_SHRINK), 0);
	assert_false(disk_entry(&t, 1).desc & L2_COMPRESSED);
	expect_stored(&t, 7, 1024, CLUSTER);
	expect_stored(&t, 0, CLUSTER - 1024, CLUSTER + 1024);
	disk_release(&t);
}

TEST(the_rest_of_a_snapshots_cluster_stays_its_own)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 5, DISK, 0);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", &opts, NULL), 0);
	assert_int_equal(resize(&t, CLUSTER + 1024, QCOW2_RESIZE_SHRINK), 0);
	expect_stored(&t, 5, 1024, CLUSTER);
	expect_stored(&t, 0, CLUSTER - 1024, CLUSTER + 1024);
	assert_int_equal(qcow2_snapshot_apply(t.disk, "s", NULL), 0);
	disk_expect(&t, 5, DISK, 0);
	disk_release(&t);
}

/* Without data there is nothing to zero, and nothing is allocated. */
TEST(the_rest_of_a_cluster_without_data_stays_so)
{
	enum { SUB = CLUSTER / 32 };
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	assert_int_equal(resize(&t, CLUSTER + 1024, QCOW2_RESIZE_SHRINK), 0);
	assert_int_equal(disk_entry(&t, 1).desc, 0);
	disk_release(&t);
	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2,
					  .backing = true });
	disk_fill(&t, 3, 8 * SUB, CLUSTER + SUB);
	disk_fill(&t, 3, SUB, CLUSTER + 20 * SUB);
	assert_int_equal(
		resize(&t, CLUSTER + 4 * SUB + 512, QCOW2_RESIZE_SHRINK), 0);
	expect_stored(&t, 3, 3 * SUB + 512, CLUSTER + SUB);
	expect_stored(&t, 0, SUB - 512, CLUSTER + 4 * SUB + 512);
	assert_true(
		disk_entry(&t, 1).bitmap ==
		(SUB_ALLOC_RANGE(1, 5) | SUB_ZERO_RANGE(5, 9) | SUB_ZERO(20)));
	disk_release(&t);
}

TEST(an_l1_table_is_as_long_as_it_must_be)
{
	/* An L2 table reaches over half a GiB. */
	const uint64_t reach = UINT64_C(1) << 29;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(t.img->header.l1_size, 1);
	assert_int_equal(resize(&t, 9 * reach, 0), 0);
	assert_int_equal(t.img->header.l1_size, 9);
	disk_fill(&t, 1, CLUSTER, 8 * reach);
	assert_int_equal(resize(&t, 2 * reach, QCOW2_RESIZE_SHRINK), 0);
	assert_int_equal(t.img->header.l1_size, 2);
	assert_int_equal(resize(&t, 0, QCOW2_RESIZE_SHRINK), 0);
	assert_int_equal(resize(&t, 9 * reach, 0), 0);
	disk_expect(&t, 0, CLUSTER, 8 * reach);
	disk_release(&t);
}

static bool knows_tables(struct disk_rig *t)
{
	return atomic_load(&t->img->map.repeats) != NULL;
}

/* The question whether tables are shared too often is asked again of another L1
 * table. */
TEST(another_l1_table_is_looked_at_again)
{
	static const struct {
		uint64_t tables;
		uint32_t flags;
	} sizes[] = {
		{ 9, 0 },
		{ 2, QCOW2_RESIZE_SHRINK },
		{ 100, 0 },
		{ 1, QCOW2_RESIZE_SHRINK },
	};
	struct qcow2_extent x;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(qcow2_map(t.disk, CLUSTER, 0, 0, &x, NULL), 0);
		assert_true(knows_tables(&t));
		assert_int_equal(
			resize(&t, sizes[i].tables << 29, sizes[i].flags), 0);
		assert_false(knows_tables(&t));
	}
	disk_release(&t);
}

TEST(a_snapshot_keeps_its_size)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 6, DISK, 0);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	assert_int_equal(resize(&t, CLUSTER, QCOW2_RESIZE_SHRINK), 0);
	assert_int_equal(qcow2_snapshot_apply(t.disk, "s", NULL), 0);
	assert_int_equal(qcow2_size(t.disk), DISK);
	disk_expect(&t, 6, DISK, 0);
	disk_release(&t);
}

TEST(what_makes_no_sense_is_refused_and_nothing_changes)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 6, DISK, 0);
	assert_int_equal(resize(&t, DISK + 1, 0), -EINVAL);
	assert_int_equal(resize(&t, CLUSTER, 0), -EINVAL);
	assert_int_equal(resize(&t, (UINT64_C(1) << 63) - 512, 0), -EFBIG);
	opts.flags = QCOW2_RESIZE_SHRINK;
	opts.preallocation = QCOW2_PREALLOC_FULL;
	assert_int_equal(qcow2_resize(t.disk, CLUSTER, &opts, NULL), -EINVAL);
	assert_int_equal(qcow2_size(t.disk), DISK);
	disk_expect(&t, 6, DISK, 0);
	disk_release(&t);
}

TEST(version_2_with_snapshots_is_refused)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .version = 2 });
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	assert_int_equal(resize(&t, 20 * CLUSTER, 0), -ENOTSUP);
	disk_release(&t);
}

TEST(preallocated_clusters_have_their_places)
{
	const enum qcow2_preallocation modes[] = {
		QCOW2_PREALLOC_METADATA,
		QCOW2_PREALLOC_FULL,
	};

	for (size_t i = 0; i < 2; i++) {
		struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
		struct disk_rig t;

		disk_init(&t, (struct disk_want){ 0 });
		opts.preallocation = modes[i];
		assert_int_equal(
			qcow2_resize(t.disk, 12 * CLUSTER, &opts, NULL), 0);
		assert_int_equal(disk_entry(&t, 3).desc, 0);
		for (uint64_t c = 9; c < 12; c++)
			assert_int_not_equal(l2_host_off(disk_entry(&t, c)), 0);
		disk_expect(&t, 0, 12 * CLUSTER, 0);
		disk_release(&t);
	}
}

/* ---- Progress ------------------------------------------------------------ */

struct watch {
	unsigned n;
	unsigned stop_at; /* the call that stops it; 0: none */
	uint64_t done;
	uint64_t total;
};

static int watch_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct watch *w = opaque;

	assert_true(done >= w->done && done <= total);
	assert_true(w->n == 0 || total == w->total);
	w->done = done;
	w->total = total;
	return ++w->n == w->stop_at;
}

static int resize_watched(struct qcow2_image *disk, uint64_t size,
			  enum qcow2_preallocation mode, struct watch *w)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;

	opts.preallocation = mode;
	opts.progress = watch_progress;
	opts.opaque = w;
	return qcow2_resize(disk, size, &opts, NULL);
}

TEST(preallocation_tells_how_far_it_is)
{
	for (int with_file = 0; with_file < 2; with_file++) {
		enum qcow2_preallocation mode = QCOW2_PREALLOC_METADATA;

		for (; mode <= QCOW2_PREALLOC_FULL; mode++) {
			struct watch w = { 0 };
			struct disk_rig t;

			disk_init(&t,
				  (struct disk_want){ .data_file = with_file });
			assert_int_equal(resize_watched(t.disk, 1500 * CLUSTER,
							mode, &w),
					 0);
			assert_true(w.n > 1);
			assert_int_equal(w.done, w.total);
			disk_release(&t);
		}
	}
}

/* The next growth clears what was left behind the end. */
TEST(preallocation_can_be_stopped)
{
	for (int with_file = 0; with_file < 2; with_file++) {
		struct watch w = { .stop_at = 2 };
		struct disk_rig t;

		disk_init(&t, (struct disk_want){ .data_file = with_file });
		disk_fill(&t, 3, DISK, 0);
		assert_int_equal(resize_watched(t.disk, 4000 * CLUSTER,
						QCOW2_PREALLOC_FALLOC, &w),
				 -ECANCELED);
		assert_int_equal(qcow2_size(t.disk), DISK);
		disk_expect(&t, 3, DISK, 0);
		disk_fill(&t, 4, DISK, 0);
		assert_int_equal(resize(&t, 9 * CLUSTER, 0), 0);
		disk_expect(&t, 4, DISK, 0);
		disk_expect(&t, 0, 9 * CLUSTER - DISK, DISK);
		disk_release(&t);
	}
}

TEST(a_raw_disk_tells_too)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	const uint64_t size = UINT64_C(200) << 20;
	struct watch w = { .stop_at = 2 };
	struct qcow2_store *mem;
	struct qcow2_image *disk;

	opts.flags = QCOW2_OPEN_RDWR;
	opts.format = QCOW2_FORMAT_RAW;
	assert_int_equal(store_mem_new(&mem, NULL), 0);
	assert_int_equal(store_truncate(mem, 512, NULL), 0);
	assert_int_equal(qcow2_open_store(mem, &opts, &disk, NULL), 0);
	assert_int_equal(resize_watched(disk, size, QCOW2_PREALLOC_FALLOC, &w),
			 -ECANCELED);
	assert_int_equal(qcow2_size(disk), 512);
	w = (struct watch){ 0 };
	assert_int_equal(resize_watched(disk, size, QCOW2_PREALLOC_FALLOC, &w),
			 0);
	assert_int_equal(w.done, size - 512);
	assert_int_equal(qcow2_size(disk), size);
	assert_int_equal(qcow2_close(disk, NULL), 0);
	store_unref(mem);
}

/* ---- Failures ------------------------------------------------------------ */

/* A call that fails leaves a disk of one size or the other, with its data. */
static void fail_once(uint64_t size, uint64_t nth, bool *fired)
{
	const struct fault_plan plan = { .ops = FAULT_ON_ALL,
					 .nth = nth,
					 .code = -EIO };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_check_opts check = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct disk_rig t;
	int rc;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, DISK, 0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	fault_arm(&t.fault, &plan);
	rc = resize(&t, size, QCOW2_RESIZE_SHRINK);
	*fired = fault_fired(&t.fault) > 0;
	assert_true(rc == 0 || *fired);
	qcow2_close(t.disk, NULL);
	assert_int_equal(qcow2_check_store(t.mem, &check, &r, NULL), 0);
	assert_int_equal(r.corruptions + r.check_errors, 0);
	assert_int_equal(qcow2_open_store(t.mem, &open, &t.disk, NULL), 0);
	assert_true(qcow2_size(t.disk) == DISK || qcow2_size(t.disk) == size);
	disk_expect(&t, 7, min_u64(DISK, qcow2_size(t.disk)), 0);
	qcow2_close(t.disk, NULL);
	store_unref(t.file);
	store_unref(t.mem);
}

TEST(every_call_may_fail)
{
	const uint64_t sizes[] = { UINT64_C(10) << 29, CLUSTER + 512 };

	for (size_t i = 0; i < 2; i++) {
		bool fired = true;
		uint64_t nth;

		for (nth = 1; fired; nth++)
			fail_once(sizes[i], nth, &fired);
		assert_true(nth > 8);
	}
}
