#include "chain/events.h"

#include <errno.h>
#include <string.h>

#include "support/test.h"

#define ok(expression) assert_int_equal((expression), 0)

struct heard {
	struct events *e;
	_Atomic unsigned n;
	_Atomic unsigned n_freed;
	_Atomic uint32_t last;
	bool replaces;
};

static void hear(void *opaque, const struct qcow2_event *event)
{
	struct heard *h = opaque;

	h->n++;
	h->last = event->kind;
	assert_int_equal(h->n_freed, 0);
	if (!h->replaces)
		return;
	ok(events_listen(h->e, NULL, NULL, NULL, NULL));
	/* This thread is still in it. */
	assert_int_equal(h->n_freed, 0);
}

static void release(void *opaque)
{
	((struct heard *)opaque)->n_freed++;
}

static void tell(struct events *e, uint32_t kind)
{
	struct qcow2_event event = { .struct_size = sizeof(event),
				     .kind = kind };

	events_tell(e, &event);
}

TEST(nobody_need_listen)
{
	struct events e;

	events_init(&e);
	tell(&e, QCOW2_EVENT_LOG);
	ok(events_listen(&e, NULL, NULL, NULL, NULL));
	assert_false(e.any);
	events_release(&e);
}

TEST(the_listener_is_freed_once_at_the_end)
{
	struct heard h = { 0 };
	struct events e;

	events_init(&e);
	ok(events_listen(&e, hear, &h, release, NULL));
	assert_true(e.any);
	tell(&e, QCOW2_EVENT_DEAD);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.last, QCOW2_EVENT_DEAD);
	assert_int_equal(h.n_freed, 0);
	events_release(&e);
	assert_int_equal(h.n_freed, 1);
}

TEST(another_takes_its_place)
{
	struct heard one = { 0 }, two = { 0 };
	struct events e;

	events_init(&e);
	ok(events_listen(&e, hear, &one, release, NULL));
	ok(events_listen(&e, hear, &two, NULL, NULL));
	assert_int_equal(one.n_freed, 1);
	tell(&e, QCOW2_EVENT_LOG);
	assert_int_equal(one.n, 0);
	assert_int_equal(two.n, 1);
	events_release(&e);
	assert_int_equal(one.n_freed, 1);
}

TEST(a_function_may_take_itself_away)
{
	struct events e;
	struct heard h = { .e = &e, .replaces = true };

	events_init(&e);
	ok(events_listen(&e, hear, &h, release, NULL));
	tell(&e, QCOW2_EVENT_LOG);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.n_freed, 1);
	tell(&e, QCOW2_EVENT_LOG);
	assert_int_equal(h.n, 1);
	events_release(&e);
}

TEST(who_is_forgotten_keeps_what_is_his)
{
	struct heard h = { 0 };
	struct events e;

	events_init(&e);
	ok(events_listen(&e, hear, &h, release, NULL));
	events_forget(&e);
	assert_false(e.any);
	events_release(&e);
	assert_int_equal(h.n_freed, 0);
}

TEST(news_is_told_once)
{
	struct events e;

	events_init(&e);
	assert_true(events_is_news(&e, NEWS_DEAD));
	assert_false(events_is_news(&e, NEWS_DEAD));
	assert_true(events_is_news(&e, NEWS_NO_ROOM));
	events_is_over(&e, NEWS_NO_ROOM);
	assert_true(events_is_news(&e, NEWS_NO_ROOM));
	assert_false(events_is_news(&e, NEWS_DEAD));
	e.size = 5;
	assert_false(events_is_new_size(&e, 5));
	assert_true(events_is_new_size(&e, 6));
	assert_false(events_is_new_size(&e, 6));
	events_release(&e);
}

TEST(a_threshold_is_passed_once)
{
	struct events e;

	events_init(&e);
	assert_false(events_has_passed(&e, UINT64_MAX));
	e.threshold = 100;
	assert_false(events_has_passed(&e, 100));
	assert_true(events_has_passed(&e, 101));
	assert_false(events_has_passed(&e, 102));
	events_release(&e);
}

TEST(a_listener_without_users_is_noticed)
{
	struct events e;

	events_init(&e);
	ASSERT_ABORTS(e.told = 0x80; events_validate(&e));
	events_release(&e);
}

/* ---- Threads ------------------------------------------------------------- */

enum { N_THREADS = 8, N_EACH = 2000 };

struct race {
	struct events e;
	struct heard h[2];
	_Atomic unsigned n_news;
};

static void *tell_on(void *arg)
{
	struct race *r = arg;

	for (unsigned i = 0; i < N_EACH; i++) {
		tell(&r->e, QCOW2_EVENT_LOG);
		r->n_news += events_is_news(&r->e, NEWS_CORRUPT);
		r->n_news += events_has_passed(&r->e, i);
	}
	return NULL;
}

/* The functions come and go meanwhile; no thread enters one that was freed, and
 * each piece of news has one finder. */
TEST(many_threads_tell)
{
	static struct race r;
	pthread_t threads[N_THREADS];

	memset(&r, 0, sizeof(r));
	events_init(&r.e);
	r.e.threshold = N_EACH / 2;
	for (unsigned i = 0; i < N_THREADS; i++)
		ok(pthread_create(&threads[i], NULL, tell_on, &r));
	ok(events_listen(&r.e, hear, &r.h[0], release, NULL));
	ok(events_listen(&r.e, hear, &r.h[1], release, NULL));
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(r.h[0].n_freed, 1);
	events_release(&r.e);
	assert_int_equal(r.h[1].n_freed, 1);
	assert_int_equal(r.n_news, 2);
}
