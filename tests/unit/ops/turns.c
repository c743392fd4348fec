#include "ops/turns.h"

#include <sched.h>
#include <stdatomic.h>

#include "support/test.h"

enum { WORKERS = 4, TURNS = 2000 };

struct scene {
	struct turns turns;
	_Atomic uint64_t next_job;
	uint64_t done; /* written only by the thread that has the turn */
	_Atomic unsigned violations;
	uint64_t stop_at;
};

static void *work(void *opaque)
{
	struct scene *s = opaque;

	for (;;) {
		uint64_t job = atomic_fetch_add(&s->next_job, 1);

		if (job >= TURNS)
			return NULL;
		if (job == s->stop_at) {
			turns_stop(&s->turns);
			return NULL;
		}
		if (!turns_wait(&s->turns, job))
			return NULL;
		s->violations += s->done != job;
		sched_yield();
		s->done = job + 1;
		turns_pass(&s->turns);
	}
}

static void run(struct scene *s)
{
	pthread_t threads[WORKERS];

	turns_init(&s->turns);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, s), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	turns_release(&s->turns);
}

TEST(turns_come_in_order_and_one_at_a_time)
{
	struct scene s = { .stop_at = UINT64_MAX };

	run(&s);
	assert_int_equal(s.violations, 0);
	assert_int_equal(s.done, TURNS);
}

TEST_SLOW(nobody_waits_for_a_turn_that_never_comes)
{
	for (uint64_t at = 0; at < TURNS; at += 97) {
		struct scene s = { .stop_at = at };

		run(&s);
		assert_int_equal(s.violations, 0);
		assert_true(s.done <= at);
	}
}

TEST(the_first_turn_has_number_zero)
{
	struct turns t;

	turns_init(&t);
	assert_true(turns_wait(&t, 0));
	turns_pass(&t);
	assert_true(turns_wait(&t, 1));
	turns_stop(&t);
	assert_false(turns_wait(&t, 1));
	turns_release(&t);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_turn_that_was_passed_is_not_waited_for)
{
	struct turns t;

	turns_init(&t);
	turns_pass(&t);
	ASSERT_ABORTS(turns_wait(&t, 0));
	turns_release(&t);
}
