/*
 * The moves of a compaction, kind by kind, and the clusters that stay.
 */
#include "rig.h"

#include <errno.h>

/* ---- Data and tables ----------------------------------------------------- */

TEST_SLOW(data_moves_into_holes)
{
	static const uint32_t sizes[] = { 512, 4096, 65536 };

	for (int i = 0; i < 6; i++) {
		struct qcow2_compact_result result;
		struct rig r;

		compact_start(&r, sizes[i / 2], 0, i % 2 ? 2 : 3);
		compact_write(&r, 0, COMPACT_CLUSTERS, 1);
		compact_discard(&r, 0, 100);
		rig_close(&r);
		result = compact_all(&r);
		assert_true(result.clusters_moved >= 100);
		assert_true(result.file_size_after <=
			    result.clusters_total * sizes[i / 2]);
		rig_release(&r);
	}
}

TEST(extended_entries_follow)
{
	struct qcow2_create_opts o = {
		.cluster_size = 16384,
		.version = 3,
		.flags = QCOW2_CREATE_EXTENDED_L2,
	};
	struct qcow2_compact_result result;
	struct rig r;

	rig_init(&r, (uint64_t)COMPACT_CLUSTERS * o.cluster_size, &o);
	compact_write(&r, 0, 100, 1);
	/* Some subclusters only. */
	rig_write(&r, 9, 1000, 150 * o.cluster_size + 5000);
	compact_write_compressed(&r, 160, 20, 4, 100);
	compact_discard(&r, 0, 90);
	rig_close(&r);
	result = compact_all(&r);
	assert_true(result.file_size_after <= 32 * o.cluster_size);
	rig_release(&r);
}

TEST(l2_tables_move)
{
	struct rig r;
	uint64_t old;

	compact_start(&r, 512, 0, 3);
	compact_write(&r, 0, 64, 1);
	compact_write(&r, 192, 1, 2);
	compact_discard(&r, 0, 64);
	rig_close(&r);
	old = l2_off(&r, 3);
	compact_all(&r);
	assert_true(l2_off(&r, 3) < old);
	assert_true(host_of(&r, 192) < old);
	rig_release(&r);
}

TEST(an_l1_table_of_two_clusters_moves)
{
	struct rig r;
	uint64_t old;

	compact_start(&r, 512, 0, 3);
	compact_write(&r, 0, COMPACT_CLUSTERS, 1);
	rig_close(&r);
	free(r.disk);
	r.size = 3 * 1024 * 1024;
	r.disk = calloc(1, r.size);
	assert_non_null(r.disk);
	compact_pattern(&r, 0, COMPACT_CLUSTERS, 1, 8);
	rig_open(&r);
	assert_int_equal(qcow2_resize(r.img, r.size, NULL, NULL), 0);
	compact_discard(&r, 0, COMPACT_CLUSTERS / 2);
	rig_close(&r);
	old = l1_off(&r);
	assert_true(old > COMPACT_CLUSTERS * 512);
	compact_all(&r);
	assert_true(l1_off(&r) < old);
	rig_release(&r);
}

TEST(refcount_blocks_move)
{
	struct qcow2_compact_result result;
	struct rig r;

	/* A block counts 64 clusters. */
	compact_start(&r, 512, 64, 3);
	compact_write(&r, 0, COMPACT_CLUSTERS, 1);
	compact_discard(&r, 0, COMPACT_CLUSTERS - 8);
	rig_close(&r);
	result = compact_all(&r);
	assert_true(result.file_size_after <= 30 * 512);
	rig_release(&r);
}

TEST(snapshots_and_their_tables_move)
{
	struct rig r;
	uint8_t *view;
	uint64_t before;

	compact_start(&r, 4096, 0, 3);
	compact_write(&r, 0, 100, 1);
	rig_create(&r, "junk");
	compact_discard(&r, 0, 100);
	compact_write(&r, 100, 50, 2);
	view = rig_copy(&r);
	rig_create(&r, "kept");
	compact_write(&r, 120, 60, 3);
	rig_delete(&r, "junk");
	rig_close(&r);
	before = compact_size(r.store);
	compact_all(&r);
	assert_true(compact_size(r.store) <= before - 90 * 4096);
	rig_expect_view(&r, "kept", view, r.size);
	free(view);
	rig_release(&r);
}

/* ---- Flags --------------------------------------------------------------- */

TEST(zeros_take_no_space)
{
	struct qcow2_compact_result result;
	struct rig r;

	for (uint32_t version = 2; version <= 3; version++) {
		compact_start(&r, 4096, 0, version);
		compact_write(&r, 0, 100, 1);
		rig_write(&r, 0, 50 * 4096, 10 * 4096);
		rig_close(&r);
		result = compact_run(&r, QCOW2_COMPACT_ZEROS);
		assert_int_equal(result.clusters_zeroed, 50);
		assert_true(result.file_size_after <=
			    result.file_size_before - 50 * 4096);
		rig_check(&r);
		rig_release(&r);
	}
}

TEST_SLOW(data_is_compressed)
{
	struct qcow2_compact_result result;
	struct rig r;

	compact_start(&r, 65536, 0, 3);
	compact_write(&r, 0, 100, 1);
	rig_close(&r);
	result = compact_run(&r, QCOW2_COMPACT_COMPRESS);
	assert_int_equal(result.clusters_compressed, 100);
	assert_true(result.file_size_after <= 10 * 65536);
	rig_check(&r);
	compact_all(&r);
	rig_release(&r);
}

/* A snapshot would keep the old clusters: the file only became longer. */
TEST_SLOW(what_a_snapshot_holds_is_not_rewritten)
{
	struct qcow2_compact_result result;
	uint64_t size;
	struct rig r;

	compact_start(&r, 65536, 0, 3);
	compact_write(&r, 0, 100, 1);
	rig_create(&r, "one");
	compact_write(&r, 0, 10, 3);
	rig_close(&r);
	size = compact_size(r.store);
	result = compact_run(&r, QCOW2_COMPACT_COMPRESS | QCOW2_COMPACT_ZEROS);
	assert_int_equal(result.clusters_compressed, 10);
	assert_true(compact_size(r.store) < size);
	rig_check(&r);
	rig_release(&r);
}

TEST(a_dry_run_leaves_even_a_free_end)
{
	struct qcow2_compact_result result;
	struct rig r;
	uint64_t size;

	compact_start(&r, 4096, 0, 3);
	compact_write(&r, 0, 10, 1);
	rig_close(&r);
	size = compact_size(r.store);
	assert_int_equal(store_truncate(r.store, size + 10 * 4096 + 512, NULL),
			 0);
	result = compact_predict(&r);
	assert_int_equal(result.clusters_movable, 0);
	assert_int_equal(result.file_size_after, size);
	compact_run(&r, 0);
	assert_int_equal(compact_size(r.store), size);
	rig_release(&r);
}

/* ---- Stopping and refusing ----------------------------------------------- */

static int stop(void *opaque, uint64_t done, uint64_t total)
{
	int *calls = opaque;

	assert_true(done <= total);
	return --*calls < 0;
}

TEST(it_can_be_stopped_and_goes_on_later)
{
	for (int n = 0; n < 6; n++) {
		struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
		struct qcow2_compact_result result = { .struct_size =
							       sizeof(result) };
		int calls = n;
		struct rig r;
		int rc;

		compact_start(&r, 512, 0, 3);
		compact_write(&r, 0, 64, 1);
		compact_write(&r, 64, 64, 2);
		compact_write_compressed(&r, 128, 64, 3, 50);
		compact_discard(&r, 0, 64);
		opts.progress = stop;
		opts.opaque = &calls;
		rc = qcow2_compact(r.img, &opts, &result, NULL);
		assert_int_equal(rc, calls < 0 ? -ECANCELED : 0);
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		compact_all(&r);
		rig_release(&r);
	}
}

TEST(what_cannot_be_done_is_refused)
{
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct rig r;

	compact_start(&r, 4096, 0, 3);
	compact_write(&r, 0, 10, 1);
	opts.flags = 0x80;
	assert_int_equal(qcow2_compact(r.img, &opts, &result, NULL), -EINVAL);
	rig_close(&r);
	assert_int_equal(qcow2_open_store(r.store, &open, &r.img, NULL), 0);
	assert_int_equal(qcow2_compact(r.img, NULL, &result, NULL), -EBADF);
	rig_close(&r);
	/* F01: two entries for one cluster that is counted once. */
	put_raw64(&r, entry_at(&r, 1), raw64(&r, entry_at(&r, 2)));
	rig_open(&r);
	assert_int_equal(qcow2_compact(r.img, NULL, &result, NULL), 0);
	rig_close(&r);
	/* An entry that points into a cluster. */
	put_raw64(&r, entry_at(&r, 1), raw64(&r, entry_at(&r, 1)) + 512);
	rig_open(&r);
	assert_int_equal(qcow2_compact(r.img, NULL, &result, NULL), -EINVAL);
	rig_release(&r);
}

static int open_data(void *opaque, const struct qcow2_reference *ref,
		     struct qcow2_store **out, struct qcow2_error *err)
{
	(void)ref;
	(void)err;
	*out = qcow2_store_ref(opaque);
	return 0;
}

/* A dry run said how much compressing would bring. */
TEST(a_dry_run_does_not_promise_what_is_refused)
{
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_store *store, *data;
	struct qcow2_image *img;

	assert_int_equal(qcow2_store_new_memory(&store, NULL), 0);
	assert_int_equal(qcow2_store_new_memory(&data, NULL), 0);
	create.virtual_size = 1048576;
	create.data_file = "data";
	assert_int_equal(qcow2_create_store(store, data, &create, NULL), 0);
	gate.open = open_data;
	gate.opaque = data;
	open.gate = &gate;
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(store, &open, &img, NULL), 0);
	opts.flags = QCOW2_COMPACT_COMPRESS;
	assert_int_equal(qcow2_compact(img, &opts, &result, NULL), -ENOTSUP);
	opts.flags |= QCOW2_COMPACT_DRY_RUN;
	assert_int_equal(qcow2_compact(img, &opts, &result, NULL), -ENOTSUP);
	assert_int_equal(qcow2_close(img, NULL), 0);
	qcow2_store_unref(store);
	qcow2_store_unref(data);
}

/* Time and memory go by the refcount blocks, not by the size of the file. */
TEST_SLOW(a_long_sparse_tail_costs_nothing)
{
	struct qcow2_compact_result result;
	struct rig r;
	uint64_t size;

	for (int i = 0; i < 2; i++) {
		compact_start(&r, i ? 65536 : 512, 0, 3);
		compact_write(&r, 0, COMPACT_CLUSTERS, 1);
		compact_discard(&r, 0, 100);
		rig_close(&r);
		size = compact_size(r.store);
		assert_int_equal(store_truncate(r.store, INT64_MAX, NULL), 0);
		result = compact_run(&r, QCOW2_COMPACT_DRY_RUN);
		assert_true(result.clusters_movable > 90);
		assert_true(result.file_size_after < size);
		assert_int_equal(compact_size(r.store), INT64_MAX);
		result = compact_run(&r, 0);
		assert_true(result.clusters_moved > 90);
		assert_int_equal(result.file_size_before, INT64_MAX);
		assert_true(result.file_size_after < size);
		rig_check(&r);
		rig_release(&r);
	}
}

static void put64(struct qcow2_store *store, uint64_t value, uint64_t off)
{
	uint8_t raw[8];

	put_be64(raw, value);
	assert_int_equal(store_pwrite(store, raw, 8, off, 0, NULL), 0);
}

static uint64_t get64(struct qcow2_store *store, uint64_t off)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(store, raw, 8, off, 0, NULL), 0);
	return get_be64(raw);
}

/* A block that describes the far end of a sparse file would call for sets of
 * terabytes. */
TEST(sets_that_no_memory_holds_are_refused)
{
	struct qcow2_create_opts o = { .cluster_size = 2 << 20,
				       .version = 3,
				       .refcount_bits = 1 };
	struct qcow2_compact_result result = QCOW2_COMPACT_RESULT_INIT;
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_error err;
	uint64_t table, cluster = 256;
	uint8_t count = 1;
	struct rig r;

	rig_init(&r, 2 << 20, &o);
	rig_close(&r);
	table = get64(r.store, 48);
	/* Each block describes 2^24 clusters; the first counts the new one. */
	put64(r.store, cluster << 21, table + UINT64_C(8) * 1024);
	assert_int_equal(store_pwrite(r.store, &count, 1,
				      get64(r.store, table) + cluster / 8, 0,
				      NULL),
			 0);
	assert_int_equal(store_truncate(r.store, INT64_MAX, NULL), 0);
	rig_open(&r);
	opts.flags = QCOW2_COMPACT_DRY_RUN;
	assert_int_equal(qcow2_compact(r.img, &opts, &result, &err), -EFBIG);
	assert_non_null(strstr(err.message, "17196646400 clusters"));
	rig_release(&r);
}
