#include "cache/dirty.h"

#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"

/* Looking for one that is listed twice costs the square of the list. */
enum { LISTED_ONCE_MAX = 64 };

static void list_validate(const struct dirty *d, const struct dirty_list *l)
{
	assert(l->n <= l->capacity);
	assert(implies(l->capacity, l->list));
	for (size_t i = 0; i < l->n; i++) {
		const struct slice *s = l->list[i];

		assert(s && is_aligned(s->host_off, d->cache->slice_bytes));
		/* "A dirty slice is pinned until what it held has been
		 * written." */
		assert(cache_has_pinned(d->cache, s));
		for (size_t k = 0; k < i && l->n <= LISTED_ONCE_MAX; k++)
			assert(l->list[k] != s);
	}
}

static bool is_listed(const struct dirty_list *l, const struct slice *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->list[i] == s)
			return true;
	return false;
}

void dirty_validate(const struct dirty *d)
{
	list_validate(d, &d->waiting);
	list_validate(d, &d->writing);
	/* In `writing` it may be either: it may have become dirty again. */
	for (size_t i = 0; i < d->waiting.n; i++)
		assert(d->waiting.list[i]->dirty);
	/* A slice that is dirty is in `waiting`, so that no change is lost. */
	for (size_t i = 0; i < d->writing.n; i++)
		assert(implies(d->writing.list[i]->dirty,
			       is_listed(&d->waiting, d->writing.list[i])));
}

void dirty_init(struct dirty *d, struct cache *cache)
{
	*d = (struct dirty){ .cache = cache };
}

static void unpin_all(struct dirty *d, struct dirty_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		cache_put(d->cache, l->list[i]);
	l->n = 0;
}

void dirty_release(struct dirty *d)
{
	VALIDATE(dirty, d);
	/* Nobody knows of a mark any more, and nothing but a pin keeps it. */
	for (size_t i = 0; i < d->waiting.n; i++)
		d->waiting.list[i]->dirty = false;
	unpin_all(d, &d->waiting);
	unpin_all(d, &d->writing);
	free(d->waiting.list);
	free(d->writing.list);
	*d = (struct dirty){ .cache = d->cache };
}

static int list_reserve(struct dirty_list *l, size_t n, struct qcow2_error *err)
{
	size_t capacity = l->capacity ? l->capacity : 64;
	struct slice **list;

	while (capacity < n)
		capacity *= 2;
	if (capacity == l->capacity)
		return 0;
	list = realloc(l->list, capacity * sizeof(*list));
	if (!list)
		return error_nomem(err, "the list of dirty tables",
				   capacity * sizeof(*list));
	l->list = list;
	l->capacity = capacity;
	return 0;
}

uint64_t dirty_bytes(const struct dirty *d)
{
	uint64_t n = d->waiting.n;

	for (size_t i = 0; i < d->writing.n; i++)
		n += !d->writing.list[i]->dirty;
	return n ? n * d->cache->slice_bytes : 0;
}

/* The slices being written may have to come back. */
int dirty_reserve(struct dirty *d, struct qcow2_error *err)
{
	SCOPED_VALIDATE(dirty, d);

	return list_reserve(&d->waiting, d->waiting.n + d->writing.n + 1, err);
}

void dirty_mark(struct dirty *d, struct slice *s)
{
	if (s->dirty)
		return;
	SCOPED_VALIDATE(dirty, d);
	assert(d->waiting.n < d->waiting.capacity);
	s->dirty = true;
	cache_pin(d->cache, s);
	d->waiting.list[d->waiting.n++] = s;
}

int dirty_collect(struct dirty *d, struct writes *out, struct qcow2_error *err)
{
	SCOPED_VALIDATE(dirty, d);
	int rc = list_reserve(&d->writing, d->waiting.n, err);
	struct dirty_list swap = d->writing;

	assert(d->writing.n == 0);
	for (size_t i = 0; rc == 0 && i < d->waiting.n; i++) {
		struct slice *s = d->waiting.list[i];

		rc = writes_add(out, s->data, d->cache->slice_bytes,
				s->host_off, err);
	}
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < d->waiting.n; i++)
		d->waiting.list[i]->dirty = false;
	d->writing = d->waiting;
	d->waiting = swap;
	return 0;
}

void dirty_written(struct dirty *d)
{
	SCOPED_VALIDATE(dirty, d);

	unpin_all(d, &d->writing);
}

/* Those that became dirty again meanwhile are waiting already. */
void dirty_failed(struct dirty *d)
{
	SCOPED_VALIDATE(dirty, d);

	for (size_t i = 0; i < d->writing.n; i++)
		dirty_mark(d, d->writing.list[i]);
	unpin_all(d, &d->writing);
}
