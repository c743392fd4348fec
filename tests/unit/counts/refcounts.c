#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "counts/refcounts.h"
#include "format/header.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/test.h"

/*
 * 64 KiB clusters, 64-bit or 16-bit refcounts.  The table is cluster 1, the
 * blocks of the first two regions are clusters 2 and 3.
 */
enum { CLUSTER = 65536, CLUSTER_BITS = 16, N_BLOCKS = 2 };

struct rig {
	struct qcow2_store *store;
	struct header h;
	struct geometry g;
	struct refcounts r;
	uint64_t per_block;
	uint64_t per_slice;
};

static int none(void *opaque, uint64_t len, uint64_t host_off,
		struct qcow2_error *err)
{
	(void)opaque, (void)len, (void)host_off, (void)err;
	return 0;
}

static void put64(struct qcow2_store *s, uint64_t value, uint64_t off)
{
	uint8_t raw[8];

	put_be64(raw, value);
	assert_int_equal(store_pwrite(s, raw, 8, off, 0, NULL), 0);
}

static void rig_init(struct rig *t, uint32_t order)
{
	memset(t, 0, sizeof(*t));
	t->h = (struct header){
		.version = 3,
		.cluster_bits = CLUSTER_BITS,
		.refcount_order = order,
		.size = 1 << 20,
		.header_length = HEADER_LENGTH_V3,
		.refcount_table_off = CLUSTER,
		.refcount_table_clusters = 1,
	};
	geometry_init(&t->g, &t->h);
	assert_int_equal(store_mem_new(&t->store, NULL), 0);
	t->per_block = UINT64_C(1) << t->g.refcount_block_bits;
	assert_int_equal(store_truncate(t->store, 4 * CLUSTER, NULL), 0);
	for (uint64_t i = 0; i < N_BLOCKS; i++)
		put64(t->store, (2 + i) * CLUSTER, CLUSTER + 8 * i);
	assert_int_equal(
		refcounts_open(&t->r, &t->g, &t->h, t->store, 1 << 20, NULL),
		0);
	t->r.owner.new_metadata = none;
	t->per_slice = ((uint64_t)t->r.blocks.slice_bytes * 8) >> order;
}

static void rig_release(struct rig *t)
{
	refcounts_release(&t->r);
	qcow2_store_unref(t->store);
}

static uint64_t get(struct rig *t, uint64_t idx)
{
	uint64_t value;

	assert_int_equal(refcounts_get(&t->r, idx, &value, NULL), 0);
	return value;
}

/* Clusters [first, first + n) have @value, those beside them do not. */
static void assert_run(struct rig *t, uint64_t n, uint64_t first,
		       uint64_t value)
{
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(get(t, first + i), value);
	assert_int_not_equal(get(t, first - 1), value);
	assert_int_not_equal(get(t, first + n), value);
}

TEST(counts_runs_that_cross_slices_and_blocks)
{
	struct rig t;
	uint64_t first, n;

	rig_init(&t, 4);
	first = t.per_block - t.per_slice - 5;
	n = 2 * t.per_slice + 11;
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(refcounts_increment(&t.r, n, first, NULL), 0);
		assert_run(&t, n, first, (uint64_t)i);
	}
	assert_int_equal(refcounts_decrement(&t.r, n - 2, first + 1, NULL), 0);
	assert_run(&t, n - 2, first + 1, 2);
	assert_int_equal(get(&t, first), 3);
	rig_release(&t);
}

TEST(an_increment_is_all_or_nothing)
{
	struct qcow2_error err;
	struct rig t;
	uint64_t top;

	rig_init(&t, 1);
	top = 2 * t.per_slice + 7;
	assert_int_equal(refcounts_increment(&t.r, 1, top, NULL), 0);
	assert_int_equal(refcounts_increment(&t.r, 1, top, NULL), 0);
	assert_int_equal(refcounts_increment(&t.r, 1, top, NULL), 0);
	assert_int_equal(refcounts_increment(&t.r, 3 * t.per_slice, 5, &err),
			 -ERANGE);
	assert_non_null(strstr(err.message, "maximum"));
	for (uint64_t i = 1; i < 3 * t.per_slice + 10; i++)
		assert_int_equal(get(&t, i), i == top ? 3 : 0);
	rig_release(&t);
}

TEST(a_bad_cluster_does_not_keep_its_neighbours)
{
	struct qcow2_error err;
	struct rig t;
	uint64_t hole, n;

	rig_init(&t, 4);
	hole = t.per_slice + 3;
	n = 2 * t.per_slice;
	assert_int_equal(refcounts_increment(&t.r, n, 4, NULL), 0);
	assert_int_equal(refcounts_decrement(&t.r, 1, hole, NULL), 0);
	assert_int_equal(refcounts_decrement(&t.r, n, 4, &err), -EIO);
	assert_int_equal(err.defect, DEFECT_REFCOUNT_TOO_LOW);
	assert_int_equal(err.host_off, hole * CLUSTER);
	for (uint64_t i = 4; i < 4 + n; i++)
		assert_int_equal(get(&t, i), 0);
	rig_release(&t);
}

TEST(a_region_without_block_is_skipped)
{
	struct rig t;
	uint64_t end;

	rig_init(&t, 4);
	end = N_BLOCKS * t.per_block;
	assert_int_equal(refcounts_increment(&t.r, 9, end - 9, NULL), 0);
	assert_int_equal(refcounts_decrement(&t.r, 12, end - 9, NULL), -EIO);
	for (uint64_t i = end - 9; i < end + 3; i++)
		assert_int_equal(get(&t, i), 0);
	rig_release(&t);
}

TEST(what_was_freed_first_is_claimed_first)
{
	struct claim c;
	struct rig t;

	rig_init(&t, 4);
	assert_int_equal(refcounts_increment(&t.r, 100, 0, NULL), 0);
	assert_int_equal(refcounts_claim(&t.r, 1, &c, NULL), 0);
	assert_int_equal(c.host_off, 100 * CLUSTER);
	assert_int_equal(refcounts_decrement(&t.r, 10, 40, NULL), 0);
	assert_int_equal(refcounts_claim(&t.r, 50, &c, NULL), 0);
	assert_int_equal(c.host_off, 40 * CLUSTER);
	assert_int_equal(c.n_clusters, 10);
	rig_release(&t);
}

TEST(a_run_dirties_each_slice_once)
{
	struct writes w = { 0 };
	struct rig t;

	rig_init(&t, 4);
	assert_int_equal(
		refcounts_increment(&t.r, 2 * t.per_slice, t.per_slice, NULL),
		0);
	assert_int_equal(t.r.dirty.waiting.n, 2);
	assert_int_equal(refcounts_collect(&t.r, &w, NULL), 0);
	refcounts_written(&t.r);
	assert_true(refcounts_is_clean(&t.r));
	assert_int_equal(refcounts_decrement(&t.r, 1, 9 * t.per_slice, NULL),
			 -EIO);
	assert_true(refcounts_is_clean(&t.r));
	writes_release(&w);
	rig_release(&t);
}

/* Once the mark was missing, and the claim was lost unless something else in
 * the slice changed too. */
TEST(what_was_taken_is_written)
{
	struct rig t;

	rig_init(&t, 4);
	assert_int_equal(refcounts_take(&t.r, 2, t.per_slice + 5, NULL), 0);
	assert_run(&t, 2, t.per_slice + 5, 1);
	assert_false(refcounts_is_clean(&t.r));
	assert_int_equal(refcounts_take(&t.r, 2, t.per_slice + 6, NULL), 1);
	assert_run(&t, 2, t.per_slice + 5, 1);
	rig_release(&t);
}

/* This state is left when an amended image's new refcounts cannot be opened: a
 * writer that goes on is told so, and asks this first. */
TEST(refcounts_that_are_none_are_clean)
{
	struct rig t;

	rig_init(&t, 4);
	refcounts_release(&t.r);
	refcounts_open_none(&t.r, &t.g, t.store, -EIO);
	assert_true(refcounts_is_clean(&t.r));
	assert_false(refcounts_wanted(&t.r));
	rig_release(&t);
}
