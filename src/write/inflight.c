#include "write/inflight.h"

#include <assert.h>
#include <time.h>

#include "base/cleanup.h"

enum { ADVANCE_AGAIN_NS = 1000000 };

static size_t shard_index(uint64_t off)
{
	return (off >> INFLIGHT_REGION_BITS) % INFLIGHT_SHARDS;
}

static bool is_freeze(const struct inflight_range *r)
{
	return r->off == 0 && r->end == UINT64_MAX;
}

void inflight_shard_validate(const struct inflight_shard *s)
{
	const struct inflight_range *first = s->ranges;

	for (const struct inflight_range *r = first; r; r = r->next) {
		assert(r->off < r->end);
		/* Nobody enters beside a freeze, so it was the last to. */
		if (is_freeze(r)) {
			assert(r == first);
			continue;
		}
		assert(r->end <= inflight_region_end(r->off));
		assert(shard_index(r->off) == shard_index(first->off) ||
		       is_freeze(first));
		for (const struct inflight_range *o = r->next; o; o = o->next)
			assert(r->end <= o->off || o->end <= r->off);
	}
}

void inflight_init(struct inflight *f)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	for (unsigned i = 0; i < INFLIGHT_SHARDS; i++) {
		pthread_mutex_init(&f->shards[i].lock, NULL);
		pthread_cond_init(&f->shards[i].left, &attr);
		f->shards[i].ranges = NULL;
		f->shards[i].n_left = 0;
	}
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&f->carriers_lock, NULL);
	f->carriers = NULL;
	atomic_init(&f->has_carriers, false);
}

void inflight_release(struct inflight *f)
{
	for (unsigned i = 0; i < INFLIGHT_SHARDS; i++) {
		assert(!f->shards[i].ranges);
		pthread_mutex_destroy(&f->shards[i].lock);
		pthread_cond_destroy(&f->shards[i].left);
	}
	assert(!f->carriers);
	pthread_mutex_destroy(&f->carriers_lock);
}

/* ---- Carriers ------------------------------------------------------------ */

void inflight_add_carrier(struct inflight *f, struct inflight_carrier *c)
{
	SCOPED_LOCK(&f->carriers_lock);

	c->next = f->carriers;
	f->carriers = c;
	atomic_store(&f->has_carriers, true);
}

void inflight_remove_carrier(struct inflight *f, struct inflight_carrier *c)
{
	struct inflight_carrier **p = &f->carriers;
	SCOPED_LOCK(&f->carriers_lock);

	while (*p != c) {
		assert(*p);
		p = &(*p)->next;
	}
	*p = c->next;
	atomic_store(&f->has_carriers, f->carriers != NULL);
}

static void advance_all(struct inflight *f)
{
	SCOPED_LOCK(&f->carriers_lock);

	for (struct inflight_carrier *c = f->carriers; c; c = c->next)
		c->advance(c->opaque);
}

static void wait_a_moment(struct inflight_shard *s)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ADVANCE_AGAIN_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&s->left, &s->lock, &until);
}

/* Until a range of the shard was left, or for a moment; with the shard's lock,
 * which is given up meanwhile. */
static void shard_wait(struct inflight *f, struct inflight_shard *s)
{
	uint64_t before = s->n_left;

	if (!atomic_load(&f->has_carriers)) {
		pthread_cond_wait(&s->left, &s->lock);
		return;
	}
	mutex_unlock(&s->lock);
	advance_all(f);
	mutex_lock(&s->lock);
	if (s->n_left == before)
		wait_a_moment(s);
}

/* ---- Ranges -------------------------------------------------------------- */

static struct inflight_shard *inflight_shard_of(struct inflight *f,
						uint64_t off)
{
	return &f->shards[shard_index(off)];
}

/* Whether anyone but @self, which may be NULL, is in [off, end). */
static bool overlaps_any(const struct inflight_shard *s,
			 const struct inflight_range *self, uint64_t off,
			 uint64_t end)
{
	for (const struct inflight_range *r = s->ranges; r; r = r->next)
		if (r != self && r->off < end && off < r->end)
			return true;
	return false;
}

bool inflight_enter(struct inflight *f, struct inflight_range *r, uint64_t off,
		    uint64_t end, bool wait)
{
	struct inflight_shard *s = inflight_shard_of(f, off);
	SCOPED_LOCK(&s->lock);
	SCOPED_VALIDATE(inflight_shard, s);

	assert(off < end && end <= inflight_region_end(off));
	while (overlaps_any(s, NULL, off, end)) {
		if (!wait)
			return false;
		shard_wait(f, s);
	}
	*r = (struct inflight_range){ s->ranges, off, end };
	s->ranges = r;
	return true;
}

static void inflight_shard_remove(struct inflight_shard *s,
				  struct inflight_range *r)
{
	struct inflight_range **p = &s->ranges;
	SCOPED_LOCK(&s->lock);
	SCOPED_VALIDATE(inflight_shard, s);

	while (*p != r) {
		assert(*p);
		p = &(*p)->next;
	}
	*p = r->next;
	s->n_left++;
	pthread_cond_broadcast(&s->left);
}

void inflight_leave(struct inflight *f, struct inflight_range *r)
{
	inflight_shard_remove(inflight_shard_of(f, r->off), r);
}

bool inflight_widen(struct inflight *f, struct inflight_range *r, uint64_t off,
		    uint64_t end)
{
	struct inflight_shard *s = inflight_shard_of(f, off);
	SCOPED_LOCK(&s->lock);
	SCOPED_VALIDATE(inflight_shard, s);

	assert(off <= r->off && r->end <= end &&
	       end <= inflight_region_end(off));
	if (overlaps_any(s, r, off, end))
		return false;
	r->off = off;
	r->end = end;
	return true;
}

/* Enters first and waits then: writers that keep coming must not keep the
 * freeze out for ever. */
static void shard_freeze(struct inflight *f, struct inflight_shard *s,
			 struct inflight_range *r)
{
	SCOPED_LOCK(&s->lock);
	SCOPED_VALIDATE(inflight_shard, s);

	/* One freeze at a time. */
	assert(!s->ranges || !is_freeze(s->ranges));
	*r = (struct inflight_range){ s->ranges, 0, UINT64_MAX };
	s->ranges = r;
	while (s->ranges != r || r->next)
		shard_wait(f, s);
}

void inflight_freeze(struct inflight *f, struct inflight_freeze *z)
{
	for (unsigned i = 0; i < INFLIGHT_SHARDS; i++)
		shard_freeze(f, &f->shards[i], &z->all[i]);
}

void inflight_thaw(struct inflight *f, struct inflight_freeze *z)
{
	for (unsigned i = 0; i < INFLIGHT_SHARDS; i++)
		inflight_shard_remove(&f->shards[i], &z->all[i]);
}
