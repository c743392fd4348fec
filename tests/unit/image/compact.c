/*
 * What moves in a compaction, kind by kind, and what stays.
 */
#include "compact_rig.h"

#include <errno.h>

#include "base/bytes.h"
#include "format/header.h"
#include "format/l2.h"
#include "format/refcount.h"

/* ---- Looking inside ------------------------------------------------------------ */

static uint64_t raw64(struct rig *r, uint64_t off)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(r->store, raw, 8, off, 0, NULL), 0);
	return get_be64(raw);
}

static void put_raw64(struct rig *r, uint64_t off, uint64_t value)
{
	uint8_t raw[8];

	put_be64(raw, value);
	assert_int_equal(store_pwrite(r->store, raw, 8, off, 0, NULL), 0);
}

static uint64_t l1_off(struct rig *r)
{
	return raw64(r, HEADER_OFF_L1_OFF);
}

static uint64_t l2_off(struct rig *r, uint64_t index)
{
	return l1_table_off(raw64(r, l1_off(r) + 8 * index));
}

/* Where the L2 entry of a cluster lies; of tables without extended entries. */
static uint64_t entry_at(struct rig *r, uint64_t cluster)
{
	uint64_t per_table = r->create.cluster_size / 8;

	return l2_off(r, cluster / per_table) + cluster % per_table * 8;
}

static uint64_t host_of(struct rig *r, uint64_t cluster)
{
	return raw64(r, entry_at(r, cluster)) & ENTRY_OFFSET_MASK;
}

static uint64_t packed_at(struct rig *r, uint64_t cluster)
{
	uint64_t desc = raw64(r, entry_at(r, cluster));
	uint32_t size = r->create.cluster_size;
	uint32_t shift = 62 - ((uint32_t)__builtin_ctz(size) - 8);

	assert_true(desc & L2_COMPRESSED);
	return desc & ((UINT64_C(1) << shift) - 1);
}

/* ---- Images -------------------------------------------------------------------- */

enum { N = 256 };

static void start(struct rig *r, uint32_t cluster_size, uint32_t refcount_bits,
		  uint32_t version)
{
	struct qcow2_create_opts o = {
		.cluster_size = cluster_size, .version = version,
		.refcount_bits = refcount_bits,
	};

	rig_init(r, (uint64_t)N * cluster_size, &o);
}

/* ---- Data and tables ----------------------------------------------------------- */

static void data_moves_into_holes(void **state)
{
	static const uint32_t sizes[] = { 512, 4096, 65536 };

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct qcow2_compact_result result;
		struct rig r;

		start(&r, sizes[i / 2], 0, i % 2 ? 2 : 3);
		compact_write(&r, 0, N, 1);
		compact_discard(&r, 0, 100);
		rig_close(&r);
		result = compact_all(&r);
		assert_true(result.clusters_moved >= 100);
		assert_true(result.file_size_after <=
			    result.clusters_total * sizes[i / 2]);
		rig_release(&r);
	}
}

static void extended_entries_follow(void **state)
{
	struct qcow2_create_opts o = {
		.cluster_size = 16384, .version = 3,
		.flags = QCOW2_CREATE_EXTENDED_L2,
	};
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	rig_init(&r, (uint64_t)N * o.cluster_size, &o);
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

static void l2_tables_move(void **state)
{
	struct rig r;
	uint64_t old;

	(void)state;
	start(&r, 512, 0, 3);
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

static void an_l1_table_of_two_clusters_moves(void **state)
{
	struct rig r;
	uint64_t old;

	(void)state;
	start(&r, 512, 0, 3);
	compact_write(&r, 0, N, 1);
	rig_close(&r);
	free(r.disk);
	r.size = 3 * 1024 * 1024;
	r.disk = calloc(1, r.size);
	assert_non_null(r.disk);
	compact_pattern(&r, 0, N, 1, 8);
	rig_open(&r);
	assert_int_equal(qcow2_resize(r.img, r.size, NULL, NULL), 0);
	compact_discard(&r, 0, N / 2);
	rig_close(&r);
	old = l1_off(&r);
	assert_true(old > N * 512);
	compact_all(&r);
	assert_true(l1_off(&r) < old);
	rig_release(&r);
}

static void refcount_blocks_move(void **state)
{
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	/* A block counts 64 clusters. */
	start(&r, 512, 64, 3);
	compact_write(&r, 0, N, 1);
	compact_discard(&r, 0, N - 8);
	rig_close(&r);
	result = compact_all(&r);
	assert_true(result.file_size_after <= 30 * 512);
	rig_release(&r);
}

static void snapshots_and_their_tables_move(void **state)
{
	struct rig r;
	uint8_t *view;
	uint64_t before;

	(void)state;
	start(&r, 4096, 0, 3);
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

/* ---- Compressed data ----------------------------------------------------------- */

static void compressed_data_moves_into_free_clusters(void **state)
{
	static const uint32_t sizes[] = { 512, 4096, 65536 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint32_t size = sizes[i];
		struct rig r;
		uint64_t old;

		start(&r, size, 0, 3);
		compact_write(&r, 0, 100, 1);
		compact_write_compressed(&r, 100, 60, 3, size / 4);
		compact_discard(&r, 0, 100);
		rig_close(&r);
		old = packed_at(&r, 159);
		compact_all(&r);
		assert_true(packed_at(&r, 159) < old);
		assert_true(compact_size(r.store) <= 80 * (uint64_t)size);
		rig_release(&r);
	}
}

static void compressed_data_fills_gaps(void **state)
{
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	start(&r, 65536, 0, 3);
	/* Four to a cluster. */
	compact_write_compressed(&r, 0, N, 1, 14000);
	for (uint64_t i = 0; i < N; i++)
		if (i % 4)
			compact_discard(&r, i, 1);
	rig_close(&r);
	result = compact_all(&r);
	/* Not a cluster was free. */
	assert_true(result.clusters_moved >= 35);
	assert_true(result.file_size_after <= 26 * 65536);
	rig_release(&r);
}

static void gaps_below_data_are_filled(void **state)
{
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	start(&r, 65536, 0, 3);
	for (uint64_t i = 0; i < 128; i++)
		compact_write_compressed(&r, i, 1, 1, i % 2 ? 6000 : 20000);
	compact_write(&r, 128, 32, 2);
	for (uint64_t i = 0; i < 128; i += 2)
		compact_discard(&r, i, 1);
	rig_close(&r);
	result = compact_all(&r);
	assert_true(result.file_size_after <=
		    result.file_size_before - 12 * 65536);
	rig_release(&r);
}

/* No gap takes a piece, but two clusters that are half empty fill one. */
static void sparse_clusters_become_fewer(void **state)
{
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	start(&r, 65536, 0, 3);
	compact_write(&r, 200, 2, 1);
	compact_write_compressed(&r, 0, 128, 1, 14000);
	compact_write(&r, 128, 32, 2);
	for (uint64_t i = 0; i < 128; i += 2)
		compact_discard(&r, i, 1);
	compact_discard(&r, 200, 2);
	rig_close(&r);
	result = compact_all(&r);
	assert_true(result.file_size_after <=
		    result.file_size_before - 12 * 65536);
	rig_release(&r);
}

/* Tables that snapshots share count once for each of them. */
static void shared_compressed_data_moves(void **state)
{
	static const uint32_t widths[] = { 8, 16, 64 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct qcow2_compact_result result;
		struct rig r;

		start(&r, 4096, widths[i], 3);
		compact_write(&r, 0, 60, 1);
		compact_write_compressed(&r, 100, 16, 3, 1000);
		rig_create(&r, "one");
		compact_discard(&r, 0, 60);
		rig_create(&r, "two");
		rig_create(&r, "three");
		rig_delete(&r, "one");
		rig_close(&r);
		result = compact_all(&r);
		assert_true(result.file_size_after <= 24 * 4096);
		rig_expect_view(&r, "two", r.disk, r.size);
		rig_expect_view(&r, "three", r.disk, r.size);
		rig_release(&r);
	}
}

/* With refcounts of one bit each cluster holds one piece. */
static void a_cluster_takes_no_more_than_its_refcount(void **state)
{
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	for (uint32_t bits = 1; bits <= 2; bits++) {
		start(&r, 4096, bits, 3);
		compact_write(&r, 0, 100, 1);
		compact_write_compressed(&r, 100, 60, 3, 500);
		compact_discard(&r, 0, 100);
		compact_discard(&r, 110, 20);
		rig_close(&r);
		result = compact_all(&r);
		assert_true(result.file_size_after <=
			    (bits == 1 ? 50 : 30) * 4096);
		rig_release(&r);
	}
}

static void set_refcount(struct rig *r, uint64_t host_off, uint16_t value)
{
	uint64_t table = raw64(r, HEADER_OFF_REFCOUNT_TABLE_OFF);
	uint64_t cluster = host_off / r->create.cluster_size;
	uint8_t raw[2];

	put_be16(raw, value);
	assert_int_equal(store_pwrite(r->store, raw, 2,
				      raw64(r, table) + cluster * 2, 0, NULL),
			 0);
}

/* Cluster 60 of the disk is given the bytes of compressed cluster 50, and the
 * entry of that points into it. */
static void put_inside(struct rig *r)
{
	uint64_t packed = packed_at(r, 50);
	uint64_t plain = host_of(r, 60);
	uint8_t bytes[512];

	assert_int_equal(packed % 4096, 0);
	assert_int_equal(store_pread(r->store, bytes, sizeof(bytes), packed, 0,
				     NULL), 0);
	assert_int_equal(store_pwrite(r->store, bytes, sizeof(bytes), plain, 0,
				      NULL), 0);
	memcpy(r->disk + 60 * 4096, bytes, sizeof(bytes));
	put_raw64(r, entry_at(r, 50),
		  raw64(r, entry_at(r, 50)) - packed + plain);
	put_raw64(r, entry_at(r, 60),
		  raw64(r, entry_at(r, 60)) & ~ENTRY_COPIED);
	set_refcount(r, plain, 2);
	set_refcount(r, packed, 1);
}

/* Nobody writes that, but each is readable and every refcount is right. */
static void data_with_compressed_data_inside_stays(void **state)
{
	uint64_t plain;
	struct rig r;

	(void)state;
	start(&r, 4096, 16, 3);
	compact_write(&r, 0, 40, 1);
	compact_write(&r, 60, 1, 2);
	compact_write_compressed(&r, 50, 1, 3, 100);
	assert_int_equal(qcow2_flush(r.img, NULL), 0);
	compact_write_compressed(&r, 70, 1, 4, 100);
	rig_close(&r);
	put_inside(&r);
	rig_check(&r);
	plain = host_of(&r, 60);
	/* What looks like gaps there is data. */
	compact_run(&r, 0);
	rig_check(&r);
	assert_int_equal(host_of(&r, 60), plain);
	rig_open(&r);
	compact_discard(&r, 0, 40);
	rig_close(&r);
	compact_run(&r, 0);
	rig_check(&r);
	assert_int_equal(host_of(&r, 60), plain);
	rig_release(&r);
}

static void what_was_read_there_before_is_not_believed(void **state)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	uint64_t old;
	struct rig r;
	uint8_t byte;

	(void)state;
	/* A cluster for each piece. */
	start(&r, 4096, 1, 3);
	compact_write_compressed(&r, 10, 2, 1, 2000);
	rig_close(&r);
	old = packed_at(&r, 10);
	rig_open(&r);
	assert_int_equal(qcow2_pread(r.img, &byte, 1, 10 * 4096, 0, NULL), 0);
	compact_discard(&r, 10, 1);
	assert_int_equal(qcow2_compact(r.img, NULL, &result, NULL), 0);
	rig_expect(&r);
	for (uint64_t i = 0; i < 4096; i++) {
		assert_int_equal(qcow2_pread(r.img, &byte, 1, 11 * 4096 + i, 0,
					     NULL), 0);
		assert_int_equal(byte, r.disk[11 * 4096 + i]);
	}
	rig_close(&r);
	assert_int_equal(packed_at(&r, 11), old);
	rig_release(&r);
}

/* ---- Flags --------------------------------------------------------------------- */

static void zeros_take_no_space(void **state)
{
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	for (uint32_t version = 2; version <= 3; version++) {
		start(&r, 4096, 0, version);
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

static void data_is_compressed(void **state)
{
	struct qcow2_compact_result result;
	struct rig r;

	(void)state;
	start(&r, 65536, 0, 3);
	compact_write(&r, 0, 100, 1);
	rig_close(&r);
	result = compact_run(&r, QCOW2_COMPACT_COMPRESS);
	assert_int_equal(result.clusters_compressed, 100);
	assert_true(result.file_size_after <= 10 * 65536);
	rig_check(&r);
	compact_all(&r);
	rig_release(&r);
}

/* ---- Stopping and refusing ------------------------------------------------------ */

static int stop(void *opaque, uint64_t done, uint64_t total)
{
	int *calls = opaque;

	assert_true(done <= total);
	return --*calls < 0;
}

static void it_can_be_stopped_and_goes_on_later(void **state)
{
	(void)state;
	for (int n = 0; n < 6; n++) {
		struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
		struct qcow2_compact_result result = {
			.struct_size = sizeof(result)
		};
		int calls = n;
		struct rig r;
		int rc;

		start(&r, 512, 0, 3);
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

static void what_cannot_be_done_is_refused(void **state)
{
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct rig r;

	(void)state;
	start(&r, 4096, 0, 3);
	compact_write(&r, 0, 10, 1);
	opts.flags = 0x80;
	assert_int_equal(qcow2_compact(r.img, &opts, &result, NULL),
			 -EINVAL);
	rig_close(&r);
	assert_int_equal(qcow2_open_store(r.store, &open, &r.img, NULL), 0);
	assert_int_equal(qcow2_compact(r.img, NULL, &result, NULL),
			 -EBADF);
	rig_close(&r);
	/* Two entries for one cluster that is counted once. */
	put_raw64(&r, entry_at(&r, 1), raw64(&r, entry_at(&r, 2)));
	rig_open(&r);
	assert_int_equal(qcow2_compact(r.img, NULL, &result, NULL),
			 -EINVAL);
	rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_moves_into_holes),
		cmocka_unit_test(extended_entries_follow),
		cmocka_unit_test(l2_tables_move),
		cmocka_unit_test(an_l1_table_of_two_clusters_moves),
		cmocka_unit_test(refcount_blocks_move),
		cmocka_unit_test(snapshots_and_their_tables_move),
		cmocka_unit_test(compressed_data_moves_into_free_clusters),
		cmocka_unit_test(compressed_data_fills_gaps),
		cmocka_unit_test(gaps_below_data_are_filled),
		cmocka_unit_test(sparse_clusters_become_fewer),
		cmocka_unit_test(shared_compressed_data_moves),
		cmocka_unit_test(a_cluster_takes_no_more_than_its_refcount),
		cmocka_unit_test(data_with_compressed_data_inside_stays),
		cmocka_unit_test(what_was_read_there_before_is_not_believed),
		cmocka_unit_test(zeros_take_no_space),
		cmocka_unit_test(data_is_compressed),
		cmocka_unit_test(it_can_be_stopped_and_goes_on_later),
		cmocka_unit_test(what_cannot_be_done_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
