/*
 * The dirty slices of one cache.
 *
 * A dirty slice is pinned until what it held has been written: first it waits
 * in `waiting`; dirty_collect() copies it and moves it to `writing`, where it
 * stays until dirty_written(), so that nobody reads the old bytes back from the
 * file meanwhile.  It may become dirty again while it is being written.  When
 * writing has failed, dirty_failed() puts it back: it is as dirty as it was
 * before it was collected.
 *
 * The owner's lock protects a set and the `dirty` marks of its slices.
 */
#ifndef CACHE_DIRTY_H
#define CACHE_DIRTY_H

#include "base/validate.h"
#include "cache/cache.h"
#include "cache/writes.h"

struct dirty_list {
	struct slice **list;
	size_t n;
	size_t capacity;
};

struct dirty {
	struct cache *cache;
	struct dirty_list waiting;
	struct dirty_list writing;
};

/* With the owner's lock held. */
VALIDATOR(dirty);

void dirty_init(struct dirty *d, struct cache *cache);
/* Unpins the slices still listed; their changes are lost. */
void dirty_release(struct dirty *d);

/* Of the slices in it, each once. */
uint64_t dirty_bytes(const struct dirty *d);

/* Makes room for one more mark, so that dirty_mark() cannot fail.  -ENOMEM. */
int dirty_reserve(struct dirty *d, struct qcow2_error *err);
void dirty_mark(struct dirty *d, struct slice *s);

/* -ENOMEM, and all stays as it is. */
int dirty_collect(struct dirty *d, struct writes *out, struct qcow2_error *err);
/* All that was collected has been written; or it has not, or not all of it. */
void dirty_written(struct dirty *d);
void dirty_failed(struct dirty *d);

#endif
