#include "write/inflight.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "support/test.h"

#define REGION (UINT64_C(1) << INFLIGHT_REGION_BITS)

TEST(what_does_not_overlap_enters_together)
{
	struct inflight_range a, b, c;
	struct inflight f;

	inflight_init(&f);
	assert_true(inflight_enter(&f, &a, 0, 512, false));
	assert_true(inflight_enter(&f, &b, 512, 1024, false));
	assert_true(inflight_enter(&f, &c, REGION, REGION + 512, false));
	inflight_leave(&f, &b);
	inflight_leave(&f, &a);
	inflight_leave(&f, &c);
	inflight_release(&f);
}

TEST(what_overlaps_is_refused_without_waiting)
{
	static const uint64_t ranges[][2] = {
		{ 0, 4096 },    { 1024, 1536 }, { 1535, 1536 },
		{ 1024, 1025 }, { 0, 1025 },    { 1100, 1200 },
	};
	struct inflight_range a, b;
	struct inflight f;

	inflight_init(&f);
	assert_true(inflight_enter(&f, &a, 1024, 1536, false));
	for (unsigned i = 0; i < 6; i++)
		assert_false(inflight_enter(&f, &b, ranges[i][0], ranges[i][1],
					    false));
	assert_true(inflight_enter(&f, &b, 1536, 1537, false));
	inflight_leave(&f, &b);
	inflight_leave(&f, &a);
	assert_true(inflight_enter(&f, &a, 0, 4096, false));
	inflight_leave(&f, &a);
	inflight_release(&f);
}

TEST(regions_that_share_a_shard_do_not_meet)
{
	struct inflight_range a, b;
	struct inflight f;
	uint64_t far = INFLIGHT_SHARDS * REGION;

	inflight_init(&f);
	assert_true(inflight_enter(&f, &a, 0, REGION, false));
	assert_true(inflight_enter(&f, &b, far, far + REGION, false));
	inflight_leave(&f, &a);
	inflight_leave(&f, &b);
	inflight_release(&f);
}

TEST(a_range_widens_where_nobody_else_is)
{
	struct inflight_range a, b;
	struct inflight f;

	inflight_init(&f);
	assert_true(inflight_enter(&f, &a, 1024, 1536, false));
	assert_true(inflight_enter(&f, &b, 4096, 4608, false));
	assert_true(inflight_widen(&f, &a, 0, 4096));
	assert_false(inflight_widen(&f, &a, 0, 4097));
	assert_false(inflight_widen(&f, &b, 4095, 4608));
	/* A request that could not widen keeps its range, and no more. */
	inflight_leave(&f, &a);
	assert_true(inflight_enter(&f, &a, 4608, 8192, false));
	inflight_leave(&f, &b);
	assert_true(inflight_widen(&f, &a, 0, REGION));
	assert_false(inflight_enter(&f, &b, 0, 1, false));
	inflight_leave(&f, &a);
	inflight_release(&f);
}

/* Threads enter random ranges and count themselves in every unit of theirs:
 * nobody may ever meet another. */
enum { UNITS = 16, THREADS = 4, ROUNDS = 3000 };

struct scene {
	struct inflight f;
	_Atomic unsigned inside[UNITS];
	_Atomic unsigned violations;
	_Atomic unsigned entered;
	uint64_t seed;
};

static void visit(struct scene *s, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		s->violations += atomic_fetch_add(&s->inside[i], 1) != 0;
	sched_yield();
	for (uint64_t i = from; i < to; i++)
		atomic_fetch_sub(&s->inside[i], 1);
	s->entered++;
}

static void *enter_often(void *opaque)
{
	struct scene *s = opaque;
	struct test_rng rng =
		test_rng_init(s->seed ^ (uintptr_t)pthread_self());

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t from = test_rng_below(&rng, UNITS);
		uint64_t to = from + 1 + test_rng_below(&rng, UNITS - from);
		bool wait = test_rng_below(&rng, 4) != 0;
		struct inflight_range r;

		if (!inflight_enter(&s->f, &r, from * 512, to * 512, wait))
			continue;
		if (inflight_widen(&s->f, &r, 0, to * 512))
			from = 0;
		visit(s, from, to);
		inflight_leave(&s->f, &r);
	}
	return NULL;
}

static void run_threads(struct scene *s, pthread_t *threads)
{
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, enter_often, s), 0);
}

TEST(threads_that_overlap_run_one_after_the_other)
{
	struct scene *s = calloc(1, sizeof(*s));
	pthread_t threads[THREADS];

	assert_non_null(s);
	s->seed = test_seed();
	inflight_init(&s->f);
	run_threads(s, threads);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s->violations, 0);
	assert_true(s->entered >= THREADS);
	inflight_release(&s->f);
	free(s);
}

TEST(a_freeze_keeps_everybody_out)
{
	struct scene *s = calloc(1, sizeof(*s));
	pthread_t threads[THREADS];

	assert_non_null(s);
	s->seed = test_seed();
	inflight_init(&s->f);
	run_threads(s, threads);
	for (unsigned round = 0; round < 50; round++) {
		struct inflight_freeze z;

		inflight_freeze(&s->f, &z);
		visit(s, 0, UNITS);
		inflight_thaw(&s->f, &z);
		sched_yield();
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s->violations, 0);
	inflight_release(&s->f);
	free(s);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(ranges_that_are_not_as_they_should_be_are_found)
{
	struct inflight_range a, b;
	struct inflight f;

	inflight_init(&f);
	assert_true(inflight_enter(&f, &a, 0, 512, false));
	assert_true(inflight_enter(&f, &b, 512, 1024, false));
	inflight_shard_validate(&f.shards[0]);
	ASSERT_ABORTS(b.end = b.off; inflight_shard_validate(&f.shards[0]));
	ASSERT_ABORTS(b.off = 511; inflight_shard_validate(&f.shards[0]));
	ASSERT_ABORTS(b.end = REGION + 1;
		      inflight_shard_validate(&f.shards[0]));
	ASSERT_ABORTS(b.off += REGION; b.end += REGION;
		      inflight_shard_validate(&f.shards[0]));
	/* Somebody beside a freeze that has not entered last. */
	ASSERT_ABORTS(a.end = UINT64_MAX;
		      inflight_shard_validate(&f.shards[0]));
	ASSERT_ABORTS(inflight_enter(&f, &a, REGION, 2 * REGION + 1, false));
	ASSERT_ABORTS(inflight_release(&f));
	inflight_leave(&f, &b);
	ASSERT_ABORTS(inflight_leave(&f, &b));
	inflight_leave(&f, &a);
	inflight_release(&f);
}

/* ---- Carriers ------------------------------------------------------------ */

/* Somebody whose request ends when it is looked after for the third time. */
struct carried_range {
	struct inflight *f;
	struct inflight_range range;
	unsigned asked;
};

static void look_after(void *opaque)
{
	struct carried_range *c = opaque;

	if (++c->asked == 3)
		inflight_leave(c->f, &c->range);
}

static void carried_enter(struct carried_range *c, struct inflight *f,
			  struct inflight_carrier *carrier)
{
	*c = (struct carried_range){ .f = f };
	*carrier =
		(struct inflight_carrier){ .advance = look_after, .opaque = c };
	inflight_add_carrier(f, carrier);
	assert_true(inflight_enter(f, &c->range, 0, 512, false));
}

/* Nobody else would: the thread that waits is the one that has the request. */
TEST(who_waits_looks_after_what_is_carried)
{
	struct inflight_carrier carrier;
	struct carried_range c;
	struct inflight_range r;
	struct inflight f;

	inflight_init(&f);
	carried_enter(&c, &f, &carrier);
	assert_true(inflight_enter(&f, &r, 0, 4096, true));
	assert_int_equal(c.asked, 3);
	inflight_leave(&f, &r);
	inflight_remove_carrier(&f, &carrier);
	inflight_release(&f);
}

TEST(a_freeze_looks_after_what_is_carried)
{
	struct inflight_carrier carrier;
	struct carried_range c;
	struct inflight_freeze z;
	struct inflight f;

	inflight_init(&f);
	carried_enter(&c, &f, &carrier);
	inflight_freeze(&f, &z);
	assert_int_equal(c.asked, 3);
	inflight_thaw(&f, &z);
	inflight_remove_carrier(&f, &carrier);
	inflight_release(&f);
}
