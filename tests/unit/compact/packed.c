/*
 * Moves of compressed data in a compaction, and places where it does not go.
 */
#include "compact/packed.h"

#include "image/image.h"
#include "rig.h"

TEST_SLOW(compressed_data_moves_into_free_clusters)
{
	static const uint32_t sizes[] = { 512, 4096, 65536 };

	for (int i = 0; i < 3; i++) {
		uint32_t size = sizes[i];
		struct rig r;
		uint64_t old;

		compact_start(&r, size, 0, 3);
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

TEST_SLOW(compressed_data_fills_gaps)
{
	struct qcow2_compact_result result;
	struct rig r;

	compact_start(&r, 65536, 0, 3);
	/* Four to a cluster. */
	compact_write_compressed(&r, 0, COMPACT_CLUSTERS, 1, 14000);
	for (uint64_t i = 0; i < COMPACT_CLUSTERS; i++)
		if (i % 4)
			compact_discard(&r, i, 1);
	rig_close(&r);
	result = compact_all(&r);
	/* No cluster was free before. */
	assert_true(result.clusters_moved >= 35);
	assert_true(result.file_size_after <= 26 * 65536);
	rig_release(&r);
}

TEST_SLOW(gaps_below_data_are_filled)
{
	struct qcow2_compact_result result;
	struct rig r;

	compact_start(&r, 65536, 0, 3);
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
TEST_SLOW(sparse_clusters_become_fewer)
{
	struct qcow2_compact_result result;
	struct rig r;

	compact_start(&r, 65536, 0, 3);
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
TEST(shared_compressed_data_moves)
{
	static const uint32_t widths[] = { 8, 16, 64 };

	for (int i = 0; i < 3; i++) {
		struct qcow2_compact_result result;
		struct rig r;

		compact_start(&r, 4096, widths[i], 3);
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
TEST(a_cluster_takes_no_more_than_its_refcount)
{
	struct qcow2_compact_result result;
	struct rig r;

	for (uint32_t bits = 1; bits <= 2; bits++) {
		compact_start(&r, 4096, bits, 3);
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

/* Cluster 60 of the disk gets the bytes of compressed cluster 50, and the entry
 * of cluster 50 points into it. */
static void put_inside(struct rig *r)
{
	uint64_t packed = packed_at(r, 50);
	uint64_t plain = host_of(r, 60);
	uint8_t bytes[512];

	assert_int_equal(packed % 4096, 0);
	assert_int_equal(
		store_pread(r->store, bytes, sizeof(bytes), packed, 0, NULL),
		0);
	assert_int_equal(
		store_pwrite(r->store, bytes, sizeof(bytes), plain, 0, NULL),
		0);
	memcpy(r->disk + 60 * 4096, bytes, sizeof(bytes));
	put_raw64(r, entry_at(r, 50),
		  raw64(r, entry_at(r, 50)) - packed + plain);
	put_raw64(r, entry_at(r, 60),
		  raw64(r, entry_at(r, 60)) & ~ENTRY_COPIED);
	set_refcount(r, plain, 2);
	set_refcount(r, packed, 1);
}

/* No program writes that, but each is readable and every refcount is right. */
TEST(data_with_compressed_data_inside_stays)
{
	uint64_t plain;
	struct rig r;

	compact_start(&r, 4096, 16, 3);
	compact_write(&r, 0, 40, 1);
	compact_write(&r, 60, 1, 2);
	compact_write_compressed(&r, 50, 1, 3, 100);
	assert_int_equal(qcow2_flush(r.img, NULL), 0);
	compact_write_compressed(&r, 70, 1, 4, 100);
	rig_close(&r);
	put_inside(&r);
	rig_check(&r);
	plain = host_of(&r, 60);
	/* The seeming gaps there are data. */
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

TEST(what_was_read_there_before_is_not_believed)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	uint64_t old;
	struct rig r;
	uint8_t byte;

	/* A cluster for each piece. */
	compact_start(&r, 4096, 1, 3);
	compact_write_compressed(&r, 10, 2, 1, 2000);
	rig_close(&r);
	old = packed_at(&r, 10);
	rig_open(&r);
	assert_int_equal(qcow2_pread(r.img, &byte, 1, 10 * 4096, 0, NULL), 0);
	compact_discard(&r, 10, 1);
	assert_int_equal(qcow2_compact(r.img, NULL, &result, NULL), 0);
	rig_expect(&r);
	for (uint64_t i = 0; i < 4096; i++) {
		assert_int_equal(
			qcow2_pread(r.img, &byte, 1, 11 * 4096 + i, 0, NULL),
			0);
		assert_int_equal(byte, r.disk[11 * 4096 + i]);
	}
	rig_close(&r);
	assert_int_equal(packed_at(&r, 11), old);
	rig_release(&r);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(moves_that_are_not_as_they_should_be_are_found)
{
	struct move list[] = { { 10, 3, 1 }, { 12, 5, 1 } };
	struct moves m = { list, 2, 2 };

	moves_validate(&m);
	ASSERT_ABORTS(m.list = NULL; moves_validate(&m));
	ASSERT_ABORTS(m.n = SIZE_MAX; moves_validate(&m));
	ASSERT_ABORTS(list[0].to = 0; moves_validate(&m));
	ASSERT_ABORTS(list[0].to = 11; moves_validate(&m));
	ASSERT_ABORTS(list[1].from = 9; moves_validate(&m));
	ASSERT_ABORTS(list[1].to = 3; moves_validate(&m));
}

static void init_sets(struct compact *c)
{
	assert_true(bitset_init(&c->data, c->n_file));
	assert_true(bitset_init(&c->tables, c->n_file));
	assert_true(bitset_init(&c->packed, c->n_file));
}

static void release_sets(struct compact *c)
{
	bitset_release(&c->data);
	bitset_release(&c->tables);
	bitset_release(&c->packed);
}

TEST(sets_that_are_not_as_they_should_be_are_found)
{
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct compact c = { .opts = &opts,
			     .result = &result,
			     .n_file = 100,
			     .end = 100,
			     .goal = 50,
			     .hole = 1 };

	init_sets(&c);
	/* Nobody looks into them. */
	c.img = (struct image *)&opts;
	c.refs = (struct refcounts *)&opts;
	compact_validate(&c);
	ASSERT_ABORTS(c.refs = NULL; compact_validate(&c));
	ASSERT_ABORTS(c.end++; compact_validate(&c));
	ASSERT_ABORTS(c.goal = 101; compact_validate(&c));
	ASSERT_ABORTS(c.hole = 0; compact_validate(&c));
	ASSERT_ABORTS(c.tables.n_bits--; compact_validate(&c));
	ASSERT_ABORTS(bitset_set(&c.packed, 7); bitset_set(&c.data, 7);
		      compact_validate(&c));
	ASSERT_ABORTS(bitset_set(&c.packed, 7); bitset_set(&c.tables, 7);
		      compact_validate(&c));
	ASSERT_ABORTS(compact_place(&c));
	release_sets(&c);
}

TEST(pieces_that_are_not_as_they_should_be_are_found)
{
	struct image img = { .geo = { .cluster_bits = 12 } };
	struct compact c = { .img = &img, .n_file = 100 };
	uint64_t refs[2] = { 2, 1 }, leaving[2] = { 1, 1 };
	struct packed_piece list[] = { { 8192, 1, 4096, 100, 0 },
				       { 8300, 1, 0, 100, 0 } };
	struct packed p = { .c = &c,
			    .n_ranks = 2,
			    .used = { .n_bits = 24 },
			    .refs = refs,
			    .leaving = leaving,
			    .pieces = list,
			    .n_pieces = 2,
			    .pieces_max = 2 };

	c.pieces = &p;
	packed_validate(&p);
	ASSERT_ABORTS(c.pieces = NULL; packed_validate(&p));
	ASSERT_ABORTS(p.n_tables = 1; packed_validate(&p));
	ASSERT_ABORTS(p.n_pieces = SIZE_MAX; packed_validate(&p));
	ASSERT_ABORTS(p.n_ranks = 101; packed_validate(&p));
	ASSERT_ABORTS(p.used.n_bits--; packed_validate(&p));
	ASSERT_ABORTS(leaving[1]++; packed_validate(&p));
	ASSERT_ABORTS(list[0].len = 0; packed_validate(&p));
	ASSERT_ABORTS(list[0].refs = 0; packed_validate(&p));
	ASSERT_ABORTS(list[0].to = 4097; packed_validate(&p));
	ASSERT_ABORTS(list[0].to = 8704; packed_validate(&p));
	ASSERT_ABORTS(list[1].host_off = 8192; packed_validate(&p));
	ASSERT_ABORTS(p.low = 8193; packed_validate(&p));
}
