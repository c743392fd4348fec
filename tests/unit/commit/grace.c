#include "commit/grace.h"

#include <sched.h>
#include <stdlib.h>

#include "support/test.h"

TEST(a_ticket_without_requests_is_over_at_once)
{
	struct grace g;

	grace_init(&g);
	assert_true(grace_is_over(&g, grace_ticket(&g)));
	grace_release(&g);
}

TEST(a_request_that_began_before_holds_the_ticket)
{
	struct grace_ref ref;
	struct grace g;
	uint64_t ticket;

	grace_init(&g);
	for (unsigned round = 0; round < 5; round++) {
		ref = grace_enter(&g);
		ticket = grace_ticket(&g);
		assert_false(grace_is_over(&g, ticket));
		assert_false(grace_is_over(&g, ticket));
		grace_leave(ref);
		assert_true(grace_is_over(&g, ticket));
	}
	grace_release(&g);
}

TEST(a_steady_stream_of_requests_does_not_hold_it_for_ever)
{
	struct grace_ref old, new;
	struct grace g;
	uint64_t ticket;
	bool over = false;

	grace_init(&g);
	old = grace_enter(&g);
	ticket = grace_ticket(&g);
	/* There is always a request. */
	for (unsigned i = 0; i < 10 && !over; i++) {
		new = grace_enter(&g);
		over = grace_is_over(&g, ticket);
		grace_leave(old);
		old = new;
	}
	grace_leave(old);
	assert_true(over);
	grace_release(&g);
}

TEST(what_began_after_the_ticket_may_hold_it_but_not_end_it)
{
	struct grace_ref before, after;
	struct grace g;
	uint64_t ticket;

	grace_init(&g);
	before = grace_enter(&g);
	ticket = grace_ticket(&g);
	grace_is_over(&g, ticket);
	after = grace_enter(&g);
	grace_leave(after);
	assert_false(grace_is_over(&g, ticket));
	grace_leave(before);
	assert_true(grace_is_over(&g, ticket));
	grace_release(&g);
}

/*
 * Threads look a slot up, use the object in it, and put another in its place;
 * the old object is destroyed when its ticket is over.  Nobody may ever see a
 * destroyed one.
 */
enum { THREADS = 2, ROUNDS = 100, OBJECTS = 64, ALIVE = 1 };

struct scene {
	struct grace g;
	_Atomic unsigned current;
	_Atomic unsigned state[OBJECTS];
	_Atomic bool done;
	_Atomic unsigned violations;
};

static void *reader(void *opaque)
{
	struct scene *s = opaque;

	while (!s->done) {
		struct grace_ref ref = grace_enter(&s->g);
		unsigned i = s->current;

		for (unsigned k = 0; k < 20; k++)
			s->violations += s->state[i] != ALIVE;
		grace_leave(ref);
		sched_yield();
	}
	return NULL;
}

static void wait_for(struct scene *s, uint64_t ticket)
{
	while (!grace_is_over(&s->g, ticket))
		sched_yield();
}

TEST(nobody_sees_what_was_freed)
{
	struct scene *s = calloc(1, sizeof(*s));
	pthread_t threads[THREADS];

	assert_non_null(s);
	grace_init(&s->g);
	s->state[0] = ALIVE;
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, s),
				 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned old = s->current;
		unsigned next = (old + 1) % OBJECTS;

		s->state[next] = ALIVE;
		s->current = next;
		wait_for(s, grace_ticket(&s->g));
		s->state[old] = 0;
		if (s->violations)
			break;
	}
	s->done = true;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s->violations, 0);
	grace_release(&s->g);
	free(s);
}
