/*
 * A cache of table slices: fixed-size, aligned pieces of L2 tables or refcount
 * blocks, in their on-disk form, keyed by host offset.
 *
 * The cache is sharded by key.  A hit takes one shard's lock for a few
 * instructions and pins the slice; no lock is held during I/O.  On a miss the
 * caller inserts a slice in the LOADING state and reads it; other threads that
 * want it wait for that one read.
 *
 * Memory: at most n_slices slices stay; pinned slices beyond that (as many as
 * there are concurrent requests at worst) go when they are put back.  With a
 * clean interval, slices that were not used for so long go as well.
 *
 * Locks: cache_shard.lock is a leaf: nothing is locked or read under it.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"

enum slice_state {
	SLICE_LOADING,
	SLICE_READY,
	SLICE_FAILED, /* already out of the cache; waiters ask again */
};

struct slice {
	uint64_t host_off;
	struct slice *hash_next;
	struct slice *lru_prev; /* towards more recently used */
	struct slice *lru_next;
	uint32_t pins;          /* under the shard's lock */
	uint32_t used_sec;      /* last asked for; kept when clean_sec is set */
	enum slice_state state; /* under the shard's lock */
	bool dirty;             /* under the lock of the set that lists it */
	_Atomic uint32_t seq;   /* odd while an entry of two words changes */
	_Alignas(16) uint8_t data[];
};

struct cache_shard {
	pthread_mutex_t lock;
	pthread_cond_t loaded; /* some slice left LOADING */
	struct slice **buckets;
	struct slice *lru_first; /* most recently used */
	struct slice *lru_last;
	uint32_t n_slices;
	uint32_t max_slices;
	uint32_t bucket_mask;
	uint64_t n_hits;
	uint64_t n_misses;
	uint64_t n_evictions;
};

struct cache {
	struct qcow2_store *file; /* borrowed */
	struct cache_shard *shards;
	uint32_t n_shards; /* a power of two */
	uint32_t slice_bytes;
	_Atomic uint64_t
		next_off;   /* where a sequential reader would miss next */
	uint32_t clean_sec; /* 0: never */
	_Atomic uint32_t clean_due; /* second in which to look again */
};

/* Takes the shards' locks, one after the other. */
VALIDATOR(cache);

/* @slice_bytes: power of two. @cache_bytes: what the slices may take, at least
 * two slices are kept.  -ENOMEM. */
int cache_init(struct cache *c, struct qcow2_store *file, uint64_t cache_bytes,
	       uint32_t slice_bytes, struct qcow2_error *err);
void cache_release(struct cache *c);

/*
 * Pins the slice at @host_off (aligned to the slice size) and returns it in
 * *out.  On a miss it is read, and when the misses are sequential also the
 * slices after it, up to @ahead_end (end of the table it belongs to).
 * flags: QCOW2_STORE_NOWAIT gives -EAGAIN rather than wait for I/O.
 */
int cache_get(struct cache *c, uint64_t host_off, uint64_t ahead_end,
	      unsigned flags, struct slice **out, struct qcow2_error *err);
void cache_put(struct cache *c, struct slice *s);

/* One more pin for a slice that is pinned already. */
void cache_pin(struct cache *c, struct slice *s);

/* Whether the cache has the slice, loaded and pinned: for validators, which may
 * ask under any lock. */
bool cache_has_pinned(struct cache *c, const struct slice *s);

/* Forgets the slices of [host_off, host_off + len), which are clean and not
 * pinned: other contents are written there past the cache. */
void cache_forget(struct cache *c, uint64_t len, uint64_t host_off);

/*
 * Gives the cached slices of [host_off, host_off + len), whole ones, the bytes
 * that the file has there now: @bytes.  Nothing in it is dirty.  Readers may
 * look on: every word changes at once, and the words of an entry of two under
 * the slice's sequence number.
 */
void cache_update(struct cache *c, const uint8_t *bytes, uint64_t len,
		  uint64_t host_off);

/* From now on slices that nobody asked for in @sec seconds are freed, when the
 * cache is next used; 0: they stay.  Before the first cache_get(). */
void cache_set_clean(struct cache *c, uint32_t sec);

/* Since cache_init(). */
void cache_get_stats(const struct cache *c, struct qcow2_cache_stats *out);

/* Slices that the cache has. */
uint64_t cache_count(const struct cache *c);

/* Slices the cache keeps at most. */
uint64_t cache_capacity(const struct cache *c);

#endif
