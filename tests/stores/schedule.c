#include "stores/schedule.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/range.h"
#include "stores/hook.h"

#define PATIENCE_SEC 10

struct sched_hold {
	struct sched *owner;
	struct sched_hold *next;
	char *point;
	uint64_t off;
	uint64_t len;
	bool caught;
	bool released;
};

struct sched {
	pthread_mutex_t lock;   /* guards the holds */
	pthread_cond_t changed; /* any hold caught or released */
	struct sched_hold *holds;
};

struct scheduled {
	struct sched *sched;
	char *name;
};

struct sched *sched_new(void)
{
	struct sched *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	return s;
}

void sched_free(struct sched *s)
{
	while (s->holds) {
		struct sched_hold *h = s->holds;

		assert(!h->caught || h->released);
		s->holds = h->next;
		free(h->point);
		free(h);
	}
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct sched_hold *sched_hold(struct sched *s, const char *point, uint64_t off,
			      uint64_t len)
{
	struct sched_hold *h = calloc(1, sizeof(*h));
	struct sched_hold **end;
	SCOPED_LOCK(&s->lock);

	assert(h);
	h->owner = s;
	h->point = strdup(point);
	assert(h->point);
	h->off = off;
	h->len = len;
	for (end = &s->holds; *end; end = &(*end)->next)
		;
	*end = h;
	return h;
}

bool sched_wait_caught(struct sched_hold *h)
{
	struct sched *s = h->owner;
	struct timespec until;
	int rc = 0;
	SCOPED_LOCK(&s->lock);

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PATIENCE_SEC;
	while (!h->caught && rc == 0)
		rc = pthread_cond_timedwait(&s->changed, &s->lock, &until);
	return h->caught;
}

bool sched_is_caught(struct sched_hold *h)
{
	SCOPED_LOCK(&h->owner->lock);

	return h->caught && !h->released;
}

void sched_release(struct sched_hold *h)
{
	SCOPED_LOCK(&h->owner->lock);

	h->released = true;
	pthread_cond_broadcast(&h->owner->changed);
}

static bool wants(const struct sched_hold *h, const char *point,
		  struct range touched)
{
	struct range wanted = { h->off, h->len };

	if (h->caught || h->released || strcmp(h->point, point) != 0)
		return false;
	return h->len == 0 || range_overlaps(wanted, touched);
}

static void pass_point(struct sched *s, const char *point, struct range touched)
{
	struct sched_hold *h;
	SCOPED_LOCK(&s->lock);

	for (h = s->holds; h && !wants(h, point, touched); h = h->next)
		;
	if (!h)
		return;
	h->caught = true;
	pthread_cond_broadcast(&s->changed);
	while (!h->released)
		pthread_cond_wait(&s->changed, &s->lock);
}

void sched_point(struct sched *s, const char *point)
{
	pass_point(s, point, (struct range){ 0, 0 });
}

static void pass_call(struct scheduled *self, const struct store_call *call,
		      const char *when)
{
	char point[128];

	snprintf(point, sizeof(point), "%s.%s.%s", self->name,
		 store_op_name(call->op), when);
	pass_point(self->sched, point, (struct range){ call->off, call->len });
}

static struct hook_answer sched_enter(void *opaque,
				      const struct store_call *call)
{
	pass_call(opaque, call, "before");
	return (struct hook_answer){ .what = HOOK_PASS };
}

static void sched_leave(void *opaque, const struct store_call *call,
			void *token, int rc)
{
	(void)token;
	(void)rc;
	pass_call(opaque, call, "after");
}

static void sched_store_release(void *opaque)
{
	struct scheduled *self = opaque;

	free(self->name);
	free(self);
}

int sched_store_new(struct sched *s, const char *name,
		    struct qcow2_store *inner, struct qcow2_store **out)
{
	struct scheduled *self = calloc(1, sizeof(*self));
	struct hook hook = { sched_enter, sched_leave, sched_store_release,
			     self };
	int rc = -ENOMEM;

	if (!self)
		return rc;
	self->sched = s;
	self->name = strdup(name);
	if (self->name)
		rc = hook_store_new(inner, &hook, out);
	if (rc < 0)
		sched_store_release(self);
	return rc;
}
