#include "cache/dirty.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

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

/* What is being written may have to come back. */
int dirty_reserve(struct dirty *d, struct qcow2_error *err)
{
	return list_reserve(&d->waiting, d->waiting.n + d->writing.n + 1, err);
}

void dirty_mark(struct dirty *d, struct slice *s)
{
	if (s->dirty)
		return;
	assert(d->waiting.n < d->waiting.capacity);
	s->dirty = true;
	cache_pin(d->cache, s);
	d->waiting.list[d->waiting.n++] = s;
}

int dirty_collect(struct dirty *d, struct writes *out, struct qcow2_error *err)
{
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
	unpin_all(d, &d->writing);
}

/* Those that became dirty again meanwhile are waiting already. */
void dirty_failed(struct dirty *d)
{
	for (size_t i = 0; i < d->writing.n; i++)
		dirty_mark(d, d->writing.list[i]);
	unpin_all(d, &d->writing);
}
