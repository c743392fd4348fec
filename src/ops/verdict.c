#include "ops/verdict.h"

#include <assert.h>

#include "base/cleanup.h"

void verdict_validate(const struct verdict *v)
{
	const struct event *e = &v->event;

	assert(atomic_load(&v->first_off) == e->off);
	assert(e->failed_image <= 2);
	/* "The failure of one of the images", or "it is a difference". */
	assert(!e->failed_image == !e->rc && e->rc <= 0);
}

void verdict_init(struct verdict *v)
{
	*v = (struct verdict){ .event = { .off = UINT64_MAX } };
	atomic_init(&v->first_off, UINT64_MAX);
	pthread_mutex_init(&v->lock, NULL);
}

void verdict_release(struct verdict *v)
{
	pthread_mutex_destroy(&v->lock);
}

void verdict_add(struct verdict *v, const struct event *event)
{
	SCOPED_LOCK(&v->lock);
	SCOPED_VALIDATE(verdict, v);
	if (event->off >= v->event.off)
		return;
	v->event = *event;
	atomic_store_explicit(&v->first_off, event->off, memory_order_relaxed);
}
