#include "chain/events.h"

#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"

struct events_listener {
	qcow2_event_fn *fn;
	void *opaque;
	void (*free_opaque)(void *opaque);
	uint64_t n_users; /* threads in fn, and struct events; under its lock */
};

enum {
	NEWS_KNOWN = NEWS_CORRUPT | NEWS_DEAD | NEWS_RAISED | NEWS_UNPROVED |
		     NEWS_NO_ROOM,
};

void events_validate(const struct events *e)
{
	assert(!(e->told & ~(unsigned)NEWS_KNOWN));
	assert(implies(e->to, e->to->fn && e->to->n_users));
}

void events_init(struct events *e)
{
	*e = (struct events){ .threshold = EVENTS_NO_THRESHOLD };
	pthread_mutex_init(&e->lock, NULL);
}

static struct events_listener *events_borrow(struct events *e)
{
	SCOPED_LOCK(&e->lock);
	SCOPED_VALIDATE(events, e);

	if (e->to)
		e->to->n_users++;
	return e->to;
}

static bool is_last(struct events *e, struct events_listener *l)
{
	SCOPED_LOCK(&e->lock);

	assert(l->n_users);
	return --l->n_users == 0;
}

static void give_up(struct events *e, struct events_listener *l)
{
	if (!l || !is_last(e, l))
		return;
	if (l->free_opaque)
		l->free_opaque(l->opaque);
	free(l);
}

static struct events_listener *events_swap(struct events *e,
					   struct events_listener *now)
{
	SCOPED_LOCK(&e->lock);
	SCOPED_VALIDATE(events, e);
	struct events_listener *before = e->to;

	e->to = now;
	e->any = now != NULL;
	return before;
}

void events_release(struct events *e)
{
	give_up(e, events_swap(e, NULL));
	pthread_mutex_destroy(&e->lock);
}

int events_listen(struct events *e, qcow2_event_fn *fn, void *opaque,
		  void (*free_opaque)(void *opaque), struct qcow2_error *err)
{
	struct events_listener *now = NULL;

	if (fn) {
		now = malloc(sizeof(*now));
		if (!now)
			return error_nomem(err, "who listens to events",
					   sizeof(*now));
		*now = (struct events_listener){ fn, opaque, free_opaque, 1 };
	}
	give_up(e, events_swap(e, now));
	return 0;
}

void events_forget(struct events *e)
{
	struct events_listener *before = events_swap(e, NULL);

	if (before)
		before->free_opaque = NULL;
	give_up(e, before);
}

void events_tell(struct events *e, const struct qcow2_event *event)
{
	struct events_listener *l = events_borrow(e);

	if (!l)
		return;
	l->fn(l->opaque, event);
	give_up(e, l);
}

bool events_is_news(struct events *e, enum events_news news)
{
	return !(atomic_load(&e->told) & news) &&
	       !(atomic_fetch_or(&e->told, news) & news);
}

void events_is_over(struct events *e, enum events_news news)
{
	if (atomic_load(&e->told) & news)
		atomic_fetch_and(&e->told, ~(unsigned)news);
}

bool events_is_new_size(struct events *e, uint64_t size)
{
	return atomic_load(&e->size) != size &&
	       atomic_exchange(&e->size, size) != size;
}

bool events_has_passed(struct events *e, uint64_t end)
{
	uint64_t threshold = atomic_load(&e->threshold);

	return threshold != EVENTS_NO_THRESHOLD && end > threshold &&
	       atomic_compare_exchange_strong(&e->threshold, &threshold,
					      EVENTS_NO_THRESHOLD);
}
