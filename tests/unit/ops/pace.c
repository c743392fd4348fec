#include "ops/pace.h"

#include <errno.h>

#include "support/test.h"

static double now_sec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int stop_at_once(void *opaque, uint64_t done, uint64_t total)
{
	(void)opaque, (void)done, (void)total;
	return 1;
}

TEST(a_rate_takes_its_time)
{
	struct workers w = { 0 };
	struct progress progress;
	struct pace p;
	double begin = now_sec();

	progress_init(&progress, NULL, NULL, 100);
	pace_init(&p, 1000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pace_add(&p, 100, &w, &progress, NULL), 0);
	assert_true(now_sec() - begin >= 0.29);
	progress_release(&progress);
}

TEST(no_rate_takes_none)
{
	struct workers w = { 0 };
	struct progress progress;
	struct pace p;
	double begin = now_sec();

	progress_init(&progress, NULL, NULL, 100);
	pace_init(&p, 0);
	assert_int_equal(pace_add(&p, UINT64_MAX, &w, &progress, NULL), 0);
	assert_true(now_sec() - begin < 5);
	progress_release(&progress);
}

TEST(who_wants_to_stop_does_not_wait)
{
	struct workers w = { 0 };
	struct progress progress;
	struct pace p;
	double begin = now_sec();

	progress_init(&progress, stop_at_once, NULL, 100);
	pace_init(&p, 1);
	assert_int_equal(pace_add(&p, 3600, &w, &progress, NULL), -ECANCELED);
	w.stop = true;
	assert_int_equal(pace_add(&p, 3600, &w, &progress, NULL), 0);
	assert_true(now_sec() - begin < 60);
	progress_release(&progress);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_pace_that_has_not_begun_is_found)
{
	struct pace p;

	pace_init(&p, 1000);
	pace_validate(&p);
	ASSERT_ABORTS(p.begin.tv_sec += 3600; pace_validate(&p));
	ASSERT_ABORTS(p.begin.tv_nsec = 1000000000; pace_validate(&p));
	ASSERT_ABORTS(p.begin.tv_nsec = -1; pace_validate(&p));
	ASSERT_ABORTS(p.bytes = 1; p.bytes_per_sec = 0; pace_validate(&p));
}
