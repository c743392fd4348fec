#include "ops/verdict.h"

#include "base/cleanup.h"

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
	if (event->off >= v->event.off)
		return;
	v->event = *event;
	atomic_store_explicit(&v->first_off, event->off, memory_order_relaxed);
}
