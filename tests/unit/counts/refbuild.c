#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "counts/refbuild.h"
#include "format/header.h"
#include "format/refcount.h"
#include "store/store.h"
#include "stores/fault.h"
#include "stores/record.h"
#include "support/test.h"

/* A source over a list of clusters in ascending order. */
struct list {
	const uint64_t *idx;
	const uint64_t *value;
	size_t n;
	uint64_t asked_max; /* highest cluster asked for */
	int fail;
};

static int list_next(void *opaque, uint64_t idx, uint64_t *found,
		     struct qcow2_error *err)
{
	struct list *l = opaque;

	(void)err;
	*found = UINT64_MAX;
	for (size_t i = 0; i < l->n && *found == UINT64_MAX; i++)
		if (l->idx[i] >= idx)
			*found = l->idx[i];
	return 0;
}

static int list_get(void *opaque, uint64_t idx, uint32_t n, uint64_t *values,
		    struct qcow2_error *err)
{
	struct list *l = opaque;

	(void)err;
	assert_true(n > 0 && n <= REFBUILD_PIECE_CLUSTERS);
	l->asked_max = max_u64(l->asked_max, idx + n - 1);
	for (uint32_t k = 0; k < n; k++)
		values[k] = 0;
	for (size_t i = 0; i < l->n; i++)
		if (l->idx[i] >= idx && l->idx[i] - idx < n)
			values[l->idx[i] - idx] = l->value[i];
	return l->fail;
}

static struct refbuild_source source_of(struct list *l)
{
	return (struct refbuild_source){ l, list_next, list_get };
}

static struct geometry geometry_of(uint32_t cluster_bits, uint32_t order)
{
	struct header h = {
		.version = 3,
		.cluster_bits = cluster_bits,
		.refcount_order = order,
		.size = 1 << 20,
		.header_length = HEADER_LENGTH_V3,
	};
	struct geometry g;

	geometry_init(&g, &h);
	return g;
}

static uint64_t read64(struct qcow2_store *s, uint64_t off)
{
	uint8_t b[8];

	assert_int_equal(store_pread(s, b, 8, off, 0, NULL), 0);
	return get_be64(b);
}

/* The refcount of a cluster, by way of the new table. */
static uint64_t lookup(struct qcow2_store *s, const struct geometry *g,
		       const struct refbuild *b, uint64_t cluster_idx)
{
	uint64_t i = cluster_idx >> g->refcount_block_bits;
	uint64_t n = ((uint64_t)b->table_clusters << g->cluster_bits) / 8;
	uint64_t off = i < n ? read64(s, b->table_off + i * 8) : 0;
	uint64_t value = 0;
	uint8_t *block;

	if (!off)
		return 0;
	assert_true(is_aligned(off, g->cluster_size));
	assert_true(off >= b->table_off && off < b->end_off);
	block = malloc(g->cluster_size);
	assert_non_null(block);
	assert_int_equal(store_pread(s, block, g->cluster_size, off, 0, NULL),
			 0);
	value = refcount_get(
		block,
		cluster_idx & ((UINT64_C(1) << g->refcount_block_bits) - 1),
		g->refcount_order);
	free(block);
	return value;
}

/* Listed clusters have their counts, ours 1 each, and all others 0. */
static void expect_counts(struct qcow2_store *s, const struct geometry *g,
			  const struct refbuild *b, const struct list *l)
{
	uint64_t own = b->table_off >> g->cluster_bits;
	uint64_t end = b->end_off >> g->cluster_bits;
	size_t at = 0;

	assert_int_equal(end - own, b->table_clusters + b->n_blocks);
	for (uint64_t i = 0; i < end + 10; i++) {
		uint64_t want = i >= own && i < end;

		if (at < l->n && l->idx[at] == i)
			want = l->value[at++];
		assert_int_equal(lookup(s, g, b, i), want);
	}
	assert_true(l->asked_max < own);
}

static struct qcow2_store *memory(void)
{
	struct qcow2_store *s;

	assert_int_equal(qcow2_store_new_memory(&s, NULL), 0);
	return s;
}

TEST(an_empty_image_needs_one_block_for_itself)
{
	struct geometry g = geometry_of(16, 4);
	struct list l = { 0 };
	struct refbuild_source source = source_of(&l);
	struct qcow2_store *s = memory();
	struct refbuild b;

	assert_int_equal(refbuild_write(s, &g, &source, 65536, &b, NULL), 0);
	assert_int_equal(b.table_clusters, 1);
	assert_int_equal(b.n_blocks, 1);
	assert_int_equal(b.end_off, 3 * 65536);
	expect_counts(s, &g, &b, &l);
	store_unref(s);
}

TEST(every_width_holds_what_it_can)
{
	for (uint32_t order = 0; order <= REFCOUNT_ORDER_MAX; order++) {
		struct geometry g = geometry_of(9, order);
		uint64_t idx[] = { 0, 1, 63, 64, 700, 1023 };
		uint64_t value[] = { g.refcount_max, 1, 1,
				     g.refcount_max, 1, g.refcount_max };
		struct list l = { idx, value, 6, 0, 0 };
		struct refbuild_source source = source_of(&l);
		struct qcow2_store *s = memory();
		struct refbuild b;

		assert_int_equal(
			refbuild_write(s, &g, &source, 1024 * 512, &b, NULL),
			0);
		expect_counts(s, &g, &b, &l);
		store_unref(s);
	}
}

TEST(a_refcount_that_does_not_fit_is_refused)
{
	for (uint32_t order = 0; order < REFCOUNT_ORDER_MAX; order++) {
		struct geometry g = geometry_of(12, order);
		uint64_t idx[] = { 5 };
		uint64_t value[] = { g.refcount_max + 1 };
		struct list l = { idx, value, 1, 0, 0 };
		struct refbuild_source source = source_of(&l);
		struct qcow2_store *s = memory();
		struct refbuild b;

		assert_int_equal(
			refbuild_write(s, &g, &source, 1 << 20, &b, NULL),
			-ERANGE);
		store_unref(s);
	}
}

TEST(random_images_keep_all_their_refcounts)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int round = 0; round < 60; round++) {
		struct geometry g =
			geometry_of(9 + (uint32_t)test_rng_below(&rng, 5),
				    (uint32_t)test_rng_below(&rng, 7));
		uint64_t idx[200], value[200];
		struct list l = { idx, value, 0, 0, 0 };
		struct refbuild_source source = source_of(&l);
		struct qcow2_store *s = memory();
		uint64_t at = 0;
		struct refbuild b;

		for (; l.n < 200; l.n++) {
			at += 1 + test_rng_below(&rng, l.n % 50 ? 3 : 3000);
			idx[l.n] = at;
			value[l.n] = 1 + test_rng_below(&rng, g.refcount_max);
		}
		at += 1 + test_rng_below(&rng, 600);
		assert_int_equal(refbuild_write(s, &g, &source,
						at << g.cluster_bits, &b, NULL),
				 0);
		expect_counts(s, &g, &b, &l);
		store_unref(s);
	}
}

/* In some places the structures count themselves in a block of their own; in
 * others their number pushes their end into the next one. */
TEST(they_count_themselves_wherever_they_begin)
{
	struct geometry g = geometry_of(9, 6); /* 64 to a block */

	for (uint64_t start = 1; start < 200; start++) {
		uint64_t idx[] = { 0 };
		uint64_t value[] = { 1 };
		struct list l = { idx, value, 1, 0, 0 };
		struct refbuild_source source = source_of(&l);
		struct qcow2_store *s = memory();
		struct refbuild b;

		assert_int_equal(
			refbuild_write(s, &g, &source, start * 512, &b, NULL),
			0);
		expect_counts(s, &g, &b, &l);
		store_unref(s);
	}
}

/* Blocks are made only for clusters that are counted, however far away. */
TEST(sparse_files_cost_what_is_in_use)
{
	struct geometry g = geometry_of(16, 4);
	uint64_t far = (UINT64_C(16) << 40) >> 16;
	uint64_t idx[] = { 0, far };
	uint64_t value[] = { 1, 2 };
	struct list l = { idx, value, 2, 0, 0 };
	struct refbuild_source source = source_of(&l);
	struct qcow2_store *s = memory();
	struct refbuild b;

	assert_int_equal(
		refbuild_write(s, &g, &source, (far + 1) << 16, &b, NULL), 0);
	assert_int_equal(b.n_blocks, 2);
	assert_int_equal(lookup(s, &g, &b, 0), 1);
	assert_int_equal(lookup(s, &g, &b, far), 2);
	assert_int_equal(lookup(s, &g, &b, far - 1), 0);
	store_unref(s);
}

TEST(tables_beyond_the_limit_are_refused)
{
	struct geometry g = geometry_of(9, 4); /* 128 KiB to a block */
	uint64_t limit = (REFCOUNT_TABLE_BYTES_MAX / 8) << 17;
	struct list l = { 0 };
	struct refbuild_source source = source_of(&l);
	struct qcow2_store *s = memory();
	struct refbuild b;

	assert_int_equal(refbuild_write(s, &g, &source, limit - 512, &b, NULL),
			 -EFBIG);
	g = geometry_of(21, 0);
	assert_int_equal(refbuild_write(s, &g, &source,
					align_down(HOST_OFF_MAX, 1 << 21), &b,
					NULL),
			 -EFBIG);
	store_unref(s);
}

/* Clusters in use are not touched, and all is durable at the end. */
TEST(nothing_below_the_start_is_written)
{
	struct geometry g = geometry_of(12, 3);
	uint64_t idx[] = { 0, 1, 2, 9000 };
	uint64_t value[] = { 1, 2, 3, 4 };
	struct list l = { idx, value, 4, 0, 0 };
	struct refbuild_source source = source_of(&l);
	struct qcow2_store *inner = memory();
	struct record_log *log = record_log_new();
	struct qcow2_store *s;
	struct refbuild b;
	size_t n;

	assert_int_equal(record_store_new(log, inner, NULL, &s), 0);
	assert_int_equal(refbuild_write(s, &g, &source, 9001 * 4096, &b, NULL),
			 0);
	n = record_n_events(log);
	for (size_t i = 0; i < n; i++) {
		const struct record_event *ev = record_event(log, i);

		if (ev->op != STORE_OP_FLUSH)
			assert_true(ev->off >= 9001 * 4096 &&
				    ev->off + ev->len <= b.end_off);
	}
	assert_int_equal(record_event(log, n - 1)->op, STORE_OP_FLUSH);
	store_unref(s);
	store_unref(inner);
	record_log_free(log);
}

TEST(every_failure_is_told)
{
	struct geometry g = geometry_of(9, 4);
	uint64_t idx[] = { 0, 5000 };
	uint64_t value[] = { 1, 1 };
	struct list l = { idx, value, 2, 0, 0 };
	struct refbuild_source source = source_of(&l);
	struct fault_plan plan = {
		.ops = FAULT_ON_ALL,
		.nth = 1,
		.code = -ENOSPC,
	};
	struct fault_injector fault = FAULT_INIT;
	struct refbuild b;

	for (;; plan.nth++) {
		struct qcow2_store *inner = memory();
		struct qcow2_store *s;
		int rc;

		fault_arm(&fault, &plan);
		assert_int_equal(fault_store_new(&fault, inner, &s), 0);
		rc = refbuild_write(s, &g, &source, 6000 * 512, &b, NULL);
		store_unref(s);
		store_unref(inner);
		if (!fault_fired(&fault))
			break;
		assert_int_equal(rc, -ENOSPC);
	}
	assert_true(plan.nth > 3);
	l.fail = -EIO;
	{
		struct qcow2_store *s = memory();

		assert_int_equal(
			refbuild_write(s, &g, &source, 6000 * 512, &b, NULL),
			-EIO);
		store_unref(s);
	}
}
