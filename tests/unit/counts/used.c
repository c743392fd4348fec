#include "rig.h"

#include "counts/used.h"

/* 512-byte clusters with 64-bit refcounts: a block describes 64 clusters.  A
 * walk that touched each region of such a file would not end. */
enum { SMALL = 512, PER_BLOCK = 64 };

#define LONG_FILE INT64_MAX

static void init(struct rig *t)
{
	rig_init_with(t, SMALL, 64, 0);
	t->refs.table[40] = 40 * PER_BLOCK * SMALL;
	assert_int_equal(store_truncate(t->file, LONG_FILE, NULL), 0);
	refcounts_skip(&t->refs, LONG_FILE);
	assert_true(t->refs.n_table > 41);
	assert_int_equal(t->refs.table[39], 0);
}

static uint64_t used_end(struct rig *t, uint64_t first, uint64_t end)
{
	uint64_t used = 0;

	assert_int_equal(refcounts_used_end(&t->refs, first, end, &used, NULL),
			 0);
	return used;
}

TEST(regions_without_a_block_are_skipped)
{
	struct rig t;

	init(&t);
	assert_int_equal(refcounts_next_described(&t.refs, 0), 0);
	assert_int_equal(refcounts_next_described(&t.refs, 5), 5);
	assert_int_equal(refcounts_next_described(&t.refs, 39 * PER_BLOCK),
			 40 * PER_BLOCK);
	assert_int_equal(refcounts_next_described(&t.refs, 40 * PER_BLOCK + 7),
			 40 * PER_BLOCK + 7);
	assert_int_equal(refcounts_next_described(&t.refs, 41 * PER_BLOCK),
			 UINT64_MAX);
	assert_int_equal(refcounts_next_described(&t.refs, LONG_FILE / SMALL),
			 UINT64_MAX);
	assert_int_equal(refcounts_described_end(&t.refs), 41 * PER_BLOCK);
	rig_release(&t);
}

TEST(the_last_that_is_used_is_found_from_behind)
{
	uint64_t end = LONG_FILE / SMALL;
	uint64_t first_end;
	struct rig t;

	init(&t);
	first_end = used_end(&t, 0, end);
	assert_true(first_end > 1 && first_end < 40 * PER_BLOCK);
	assert_int_not_equal(rig_count(&t, (first_end - 1) * SMALL), 0);
	assert_int_equal(refcounts_set(&t.refs, 1, 40 * PER_BLOCK + 9, NULL),
			 0);
	assert_int_equal(used_end(&t, 0, end), 40 * PER_BLOCK + 10);
	/* Clusters at or behind the end do not count. */
	assert_int_equal(used_end(&t, 0, 40 * PER_BLOCK + 10),
			 40 * PER_BLOCK + 10);
	assert_int_equal(used_end(&t, 0, 40 * PER_BLOCK + 9), first_end);
	/* Nor do those before the first. */
	assert_int_equal(used_end(&t, 20 * PER_BLOCK, 40 * PER_BLOCK),
			 20 * PER_BLOCK);
	assert_int_equal(used_end(&t, 40 * PER_BLOCK + 10, end),
			 40 * PER_BLOCK + 10);
	rig_release(&t);
}

TEST(a_walk_reads_only_the_blocks_that_exist)
{
	size_t from;
	struct rig t;

	init(&t);
	from = record_n_events(t.log);
	used_end(&t, 0, LONG_FILE / SMALL);
	/* One for each block that the table lists. */
	assert_true(rig_events(&t, from, STORE_OP_READ) <= t.refs.n_table);
	rig_release(&t);
}

TEST(refcounts_that_cannot_be_read_are_an_error)
{
	uint64_t used = 77;
	struct rig t;

	init(&t);
	rig_fail(&t, STORE_OP_READ, 1);
	assert_int_equal(
		refcounts_used_end(&t.refs, 0, LONG_FILE / SMALL, &used, NULL),
		-EIO);
	assert_int_equal(used, 77);
	rig_release(&t);
}

/* Checks that the walk goes over clusters [from, to) next. */
static void expect_walked(struct rig *t, struct refcount_walk *w, uint64_t from,
			  uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		assert_int_equal(refcount_walk_next(w, NULL), 1);
		assert_int_equal(w->cluster_idx, i);
		assert_int_equal(w->count, rig_count(t, i * SMALL));
	}
}

static void expect_end(struct refcount_walk *w)
{
	assert_int_equal(refcount_walk_next(w, NULL), 0);
	assert_int_equal(refcount_walk_next(w, NULL), 0);
}

TEST(a_walk_goes_over_all_that_is_described_and_nothing_else)
{
	struct refcount_walk w;
	struct rig t;

	init(&t);
	assert_int_equal(refcounts_set(&t.refs, 3, 40 * PER_BLOCK + 9, NULL),
			 0);
	refcount_walk_init(&w, &t.refs, 0, LONG_FILE / SMALL);
	expect_walked(&t, &w, 0, PER_BLOCK);
	expect_walked(&t, &w, 40 * PER_BLOCK, 41 * PER_BLOCK);
	expect_end(&w);
	rig_release(&t);
}

TEST(a_walk_keeps_within_its_range)
{
	struct refcount_walk w;
	struct rig t;

	init(&t);
	refcount_walk_init(&w, &t.refs, 5, 40 * PER_BLOCK + 7);
	expect_walked(&t, &w, 5, PER_BLOCK);
	expect_walked(&t, &w, 40 * PER_BLOCK, 40 * PER_BLOCK + 7);
	expect_end(&w);
	refcount_walk_init(&w, &t.refs, PER_BLOCK, 40 * PER_BLOCK);
	expect_end(&w);
	refcount_walk_init(&w, &t.refs, 5, 5);
	expect_end(&w);
	refcount_walk_init(&w, &t.refs, UINT64_MAX, LONG_FILE / SMALL);
	expect_end(&w);
	rig_release(&t);
}

/* A block of 4096 clusters takes several reads. */
TEST(a_walk_goes_on_behind_what_it_read_at_once)
{
	enum { N = 3 * REFCOUNT_WALK_READ + 1 };
	struct refcount_walk w;
	struct rig t;

	rig_init_with(&t, RIG_CLUSTER, 8, 0);
	for (uint64_t i = 30; i < N; i += 37)
		assert_int_equal(refcounts_set(&t.refs, i % 200, i, NULL), 0);
	refcount_walk_init(&w, &t.refs, 0, N);
	for (uint64_t i = 0; i < N; i++) {
		assert_int_equal(refcount_walk_next(&w, NULL), 1);
		assert_int_equal(w.cluster_idx, i);
		if (i >= 30 && i % 37 == 30)
			assert_int_equal(w.count, i % 200);
	}
	expect_end(&w);
	rig_release(&t);
}

TEST(a_walk_that_cannot_read_says_so_and_can_go_on)
{
	struct refcount_walk w;
	struct rig t;

	init(&t);
	refcount_walk_init(&w, &t.refs, 40 * PER_BLOCK, LONG_FILE / SMALL);
	rig_fail(&t, STORE_OP_READ, 1);
	assert_int_equal(refcount_walk_next(&w, NULL), -EIO);
	fault_arm(&t.fault, NULL);
	expect_walked(&t, &w, 40 * PER_BLOCK, 41 * PER_BLOCK);
	expect_end(&w);
	rig_release(&t);
}

/* Nothing is claimed where nobody knows the contents; the end of such a file is
 * too far for a block of refcounts. */
TEST(a_claim_does_not_step_through_a_long_tail)
{
	struct claim c;
	struct rig t;
	int rc;

	init(&t);
	do
		rc = refcounts_claim(&t.refs, PER_BLOCK, &c, NULL);
	while (rc == 0);
	assert_int_equal(rc, -EFBIG);
	assert_int_equal(used_end(&t, 0, LONG_FILE / SMALL), 41 * PER_BLOCK);
	rig_release(&t);
}
