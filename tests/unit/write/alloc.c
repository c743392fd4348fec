#include "write/alloc.h"

#include "unit/counts/rig.h"

struct alloc_rig {
	struct rig rig;
	struct alloc alloc;
};

static void init(struct alloc_rig *t, uint64_t ahead)
{
	rig_init(&t->rig);
	alloc_init(&t->alloc, &t->rig.refs, &t->rig.commit);
	t->alloc.ahead = ahead;
}

static void release(struct alloc_rig *t)
{
	alloc_release(&t->alloc);
	rig_release(&t->rig);
}

static struct allocation get(struct alloc_rig *t, uint64_t want)
{
	struct allocation a;

	assert_int_equal(alloc_clusters(&t->alloc, want, &a, NULL), 0);
	assert_in_range(a.claim.n_clusters, 1, want);
	return a;
}

TEST(a_steady_stream_finds_its_refcounts_durable)
{
	struct alloc_rig t;

	init(&t, 8);
	for (unsigned i = 0; i < 100; i++) {
		struct allocation a = get(&t, 1);

		if (i > 2)
			assert_true(a.durable);
		assert_int_equal(commit_flush(&t.rig.commit, NULL), 0);
	}
	release(&t);
}

TEST(what_no_commit_covers_is_not_durable)
{
	struct alloc_rig t;

	init(&t, 8);
	assert_false(get(&t, 1).durable);
	assert_false(get(&t, 100).durable);
	release(&t);
}

TEST(sequential_requests_get_neighbours)
{
	struct alloc_rig t;
	uint64_t next = 0;

	init(&t, 16);
	for (unsigned i = 0; i < 64; i++) {
		struct allocation a = get(&t, 1);

		if (next)
			assert_int_equal(a.claim.host_off, next);
		next = a.claim.host_off + RIG_CLUSTER;
	}
	release(&t);
}

TEST(nobody_gets_a_cluster_twice)
{
	static uint8_t taken[4096];
	struct test_rng rng = test_rng_init(test_seed());
	struct alloc_rig t;

	memset(taken, 0, sizeof(taken));
	init(&t, 16);
	for (unsigned i = 0; i < 300; i++) {
		struct allocation a =
			get(&t, 1 + test_rng_below(&rng, i % 7 ? 3 : 40));
		uint64_t first = a.claim.host_off / RIG_CLUSTER;

		for (uint64_t k = 0; k < a.claim.n_clusters; k++) {
			assert_true(first + k < sizeof(taken));
			assert_int_equal(taken[first + k], 0);
			assert_int_equal(
				rig_count(&t.rig, (first + k) * RIG_CLUSTER),
				1);
			taken[first + k] = 1;
		}
	}
	release(&t);
}

TEST(what_was_claimed_ahead_goes_back)
{
	struct allocation a;
	struct alloc_rig t;

	init(&t, 16);
	a = get(&t, 1);
	assert_int_equal(rig_count(&t.rig, a.claim.host_off + RIG_CLUSTER), 1);
	alloc_release(&t.alloc);
	assert_int_equal(rig_count(&t.rig, a.claim.host_off), 1);
	for (uint64_t i = 1; i < 64; i++)
		assert_int_equal(
			rig_count(&t.rig, a.claim.host_off + i * RIG_CLUSTER),
			0);
	rig_release(&t.rig);
}

TEST(a_large_request_leaves_no_hole_before_it)
{
	struct allocation small, large;
	struct alloc_rig t;

	init(&t, 64);
	small = get(&t, 1);
	large = get(&t, 10);
	assert_int_equal(large.claim.host_off,
			 small.claim.host_off + RIG_CLUSTER);
	assert_int_equal(large.claim.n_clusters, 10);
	release(&t);
}

/* S12: a kill after one write and its flush once leaked 63 clusters. */
TEST(who_writes_little_claims_little_ahead)
{
	struct alloc_rig t;

	init(&t, 64);
	for (uint64_t n = 1; n < 200; n++) {
		uint64_t ahead = 0;

		get(&t, 1);
		for (unsigned i = 0; i < ALLOC_RUNS; i++)
			ahead += t.alloc.runs[i].claim.n_clusters;
		assert_in_range(ahead, 1, min_u64(2 * n, 96));
		assert_int_equal(commit_flush(&t.rig.commit, NULL), 0);
	}
	release(&t);
}

TEST(a_full_disk_stops_only_those_who_need_more)
{
	struct fault_plan full = { .ops = FAULT_ON(STORE_OP_TRUNCATE),
				   .nth = 1,
				   .persistent = true,
				   .code = -ENOSPC };
	struct allocation a;
	struct alloc_rig t;
	unsigned n = 0;

	init(&t, 8);
	for (unsigned i = 0; i < 16; i++)
		get(&t, 1);
	fault_arm(&t.rig.fault, &full);
	while (n < 100 && alloc_clusters(&t.alloc, 1, &a, NULL) == 0)
		n++;
	assert_in_range(n, 4, 99);
	assert_int_equal(alloc_clusters(&t.alloc, 1, &a, NULL), -ENOSPC);
	fault_arm(&t.rig.fault, NULL);
	get(&t, 1);
	release(&t);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(claims_that_are_not_as_they_should_be_are_found)
{
	struct alloc_rig t;
	struct alloc *a = &t.alloc;

	init(&t, 8);
	for (unsigned i = 0; i < 20 || !a->runs[0].claim.n_clusters; i++)
		get(&t, 1);
	alloc_validate(a);
	ASSERT_ABORTS(a->ahead = 0; alloc_validate(a));
	ASSERT_ABORTS(a->window = a->ahead + 1; alloc_validate(a));
	ASSERT_ABORTS(a->runs[0].claim.host_off++; alloc_validate(a));
	ASSERT_ABORTS(a->runs[0].claim.n_clusters = 9; alloc_validate(a));
	ASSERT_ABORTS(a->runs[0].claim.host_off += 1000 * RIG_CLUSTER;
		      alloc_validate(a));
	ASSERT_ABORTS(a->runs[0].generation += 1000; alloc_validate(a));
	ASSERT_ABORTS(a->runs[1] = a->runs[0]; alloc_validate(a));
	release(&t);
}

TEST(without_waiting_the_clusters_claimed_ahead_are_given_to_the_last)
{
	struct allocation a;
	struct alloc_rig t;
	unsigned n = 0;

	init(&t, 8);
	assert_false(alloc_try(&t.alloc, 1, &a));
	t.alloc.window = 8;
	get(&t, 1);
	/* A run was claimed ahead. */
	assert_false(alloc_try(&t.alloc, 9, &a));
	while (alloc_try(&t.alloc, 2, &a)) {
		assert_int_equal(a.claim.n_clusters, 2);
		n += 2;
	}
	assert_int_equal(n, 8);
	assert_int_equal(get(&t, 1).claim.n_clusters, 1);
	assert_true(alloc_try(&t.alloc, 1, &a));
	assert_false(a.durable);
	release(&t);
}
