#include "cache/cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "store/store.h"

enum {
	SHARDS_MAX = 16,
	SLICES_PER_SHARD_MIN = 16,
	/* Sequential misses read this much at once: beyond it, one more system
	 * call costs less than the cache space. */
	AHEAD_BYTES_MAX = 256 * 1024,
	AHEAD_SLICES_MAX = 64,
};

static bool is_power_of_2(uint64_t n)
{
	return n && (n & (n - 1)) == 0;
}

static uint64_t hash_off(uint64_t off)
{
	return off * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

static uint64_t slice_hash(const struct cache *c, uint64_t host_off)
{
	return hash_off(host_off / c->slice_bytes);
}

static struct cache_shard *cache_shard_of(const struct cache *c,
					  uint64_t host_off)
{
	return &c->shards[slice_hash(c, host_off) & (c->n_shards - 1)];
}

static struct slice **bucket_of(const struct cache *c, struct cache_shard *sh,
				uint64_t host_off)
{
	uint64_t hash = slice_hash(c, host_off) / SHARDS_MAX;

	return &sh->buckets[hash & sh->bucket_mask];
}

static bool shard_init(struct cache_shard *sh, uint64_t max_slices)
{
	uint64_t n_buckets = 16;

	while (n_buckets < max_slices && n_buckets < (1u << 20))
		n_buckets *= 2;
	pthread_mutex_init(&sh->lock, NULL);
	pthread_cond_init(&sh->loaded, NULL);
	sh->max_slices = (uint32_t)min_u64(max_slices, UINT32_MAX);
	sh->bucket_mask = (uint32_t)(n_buckets - 1);
	sh->buckets = alloc_zeroed(n_buckets, sizeof(*sh->buckets));
	return sh->buckets != NULL;
}

int cache_init(struct cache *c, struct qcow2_store *file, uint64_t cache_bytes,
	       uint32_t slice_bytes, struct qcow2_error *err)
{
	uint64_t n_slices = max_u64(cache_bytes / slice_bytes, 2);

	assert(is_power_of_2(slice_bytes));
	memset(c, 0, sizeof(*c));
	c->file = file;
	c->slice_bytes = slice_bytes;
	c->n_shards = 1;
	while (c->n_shards < SHARDS_MAX &&
	       n_slices / c->n_shards >= 2 * SLICES_PER_SHARD_MIN)
		c->n_shards *= 2;
	c->shards = calloc(c->n_shards, sizeof(*c->shards));
	if (!c->shards)
		return error_nomem(err, "the table cache",
				   c->n_shards * sizeof(*c->shards));
	for (uint32_t i = 0; i < c->n_shards; i++) {
		if (!shard_init(&c->shards[i], n_slices / c->n_shards)) {
			cache_release(c);
			return error_nomem(err, "the table cache", cache_bytes);
		}
	}
	return 0;
}

static void shard_release(struct cache_shard *sh)
{
	struct slice *s = sh->lru_first;

	while (s) {
		struct slice *next = s->lru_next;

		assert(s->pins == 0);
		free(s);
		s = next;
	}
	free(sh->buckets);
	pthread_cond_destroy(&sh->loaded);
	pthread_mutex_destroy(&sh->lock);
}

void cache_release(struct cache *c)
{
	if (!c->shards)
		return;
	for (uint32_t i = 0; i < c->n_shards && c->shards[i].buckets; i++)
		shard_release(&c->shards[i]);
	free(c->shards);
	c->shards = NULL;
}

static uint32_t now_sec(const struct cache *c)
{
	struct timespec ts = { 0 };

	if (c->clean_sec)
		clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t)ts.tv_sec;
}

/* ---- Under the shard's lock ---------------------------------------------- */

static void lru_unlink(struct cache_shard *sh, struct slice *s)
{
	if (s->lru_prev)
		s->lru_prev->lru_next = s->lru_next;
	else
		sh->lru_first = s->lru_next;
	if (s->lru_next)
		s->lru_next->lru_prev = s->lru_prev;
	else
		sh->lru_last = s->lru_prev;
}

static void lru_push(struct cache_shard *sh, struct slice *s)
{
	s->lru_prev = NULL;
	s->lru_next = sh->lru_first;
	if (s->lru_next)
		s->lru_next->lru_prev = s;
	else
		sh->lru_last = s;
	sh->lru_first = s;
}

static struct slice *shard_find(const struct cache *c, struct cache_shard *sh,
				uint64_t host_off)
{
	struct slice *s = *bucket_of(c, sh, host_off);

	while (s && s->host_off != host_off)
		s = s->hash_next;
	return s;
}

static void cache_shard_remove(const struct cache *c, struct cache_shard *sh,
			       struct slice *s)
{
	struct slice **p = bucket_of(c, sh, s->host_off);

	while (*p != s) {
		assert(*p);
		p = &(*p)->hash_next;
	}
	assert(sh->n_slices > 0);
	*p = s->hash_next;
	lru_unlink(sh, s);
	sh->n_slices--;
}

static void shard_evict(const struct cache *c, struct cache_shard *sh,
			struct slice *s)
{
	cache_shard_remove(c, sh, s);
	free(s);
	sh->n_evictions++;
}

/* Frees unpinned slices, oldest first, that were last used before @sec. */
static void shard_clean(const struct cache *c, struct cache_shard *sh,
			uint32_t sec)
{
	struct slice *s = sh->lru_last;

	while (s && s->used_sec < sec) {
		struct slice *prev = s->lru_prev;

		if (s->pins == 0)
			shard_evict(c, sh, s);
		s = prev;
	}
}

/* Frees unpinned slices, oldest first, until one more fits. */
static void shard_make_room(const struct cache *c, struct cache_shard *sh)
{
	struct slice *s = sh->lru_last;

	while (s && sh->n_slices >= sh->max_slices) {
		struct slice *prev = s->lru_prev;

		if (s->pins == 0)
			shard_evict(c, sh, s);
		s = prev;
	}
}

static struct slice *shard_insert(const struct cache *c, struct cache_shard *sh,
				  uint64_t host_off)
{
	struct slice **bucket = bucket_of(c, sh, host_off);
	struct slice *s;

	shard_make_room(c, sh);
	s = aligned_alloc(_Alignof(struct slice), sizeof(*s) + c->slice_bytes);
	if (!s)
		return NULL;
	s->host_off = host_off;
	s->pins = 1;
	s->used_sec = now_sec(c);
	s->state = SLICE_LOADING;
	s->dirty = false;
	atomic_init(&s->seq, 0);
	s->hash_next = *bucket;
	*bucket = s;
	lru_push(sh, s);
	sh->n_slices++;
	return s;
}

/* ---- Validating ---------------------------------------------------------- */

static void slice_validate(const struct cache *c, struct cache_shard *sh,
			   const struct slice *s)
{
	assert(is_aligned(s->host_off, c->slice_bytes));
	assert(s->lru_next ? s->lru_next->lru_prev == s : sh->lru_last == s);
	assert(s->lru_prev ? s->lru_prev->lru_next == s : sh->lru_first == s);
	/* There is one slice for an offset, in the shard of its key. */
	assert(cache_shard_of(c, s->host_off) == sh);
	assert(shard_find(c, sh, s->host_off) == s);
	/* "already out of the cache" */
	assert(s->state == SLICE_LOADING || s->state == SLICE_READY);
	/* The thread that reads it has it pinned, */
	assert(implies(s->state == SLICE_LOADING, s->pins > 0));
	if (s->pins > 0)
		return;
	/* and so has a set of dirty slices, and a thread that changes an
	 * entry. */
	assert(!s->dirty);
	assert(s->seq % 2 == 0);
}

/* With its lock held. */
static void shard_validate(const struct cache *c, struct cache_shard *sh)
{
	uint64_t n = 0;

	assert(sh->buckets && is_power_of_2((uint64_t)sh->bucket_mask + 1));
	assert(sh->max_slices > 0 && sh->max_slices == c->shards[0].max_slices);
	assert(!sh->lru_first == !sh->lru_last);
	for (const struct slice *s = sh->lru_first; s; s = s->lru_next) {
		slice_validate(c, sh, s);
		n++;
		assert(n <= sh->n_slices);
	}
	assert(n == sh->n_slices);
}

void cache_validate(const struct cache *c)
{
	/* One that could not be opened, or was released. */
	if (!c->shards)
		return;
	assert(c->file);
	assert(is_power_of_2(c->n_shards) && c->n_shards <= SHARDS_MAX);
	assert(is_power_of_2(c->slice_bytes));
	assert(is_aligned(c->next_off, c->slice_bytes));
	for (uint32_t i = 0; i < c->n_shards; i++) {
		SCOPED_LOCK(&c->shards[i].lock);

		shard_validate(c, &c->shards[i]);
	}
}

/* ---- Loading ------------------------------------------------------------- */

/* Gives up one pin and, for a failed slice, the memory with the last one. */
static void unpin(struct slice *s)
{
	assert(s->pins > 0);
	s->pins--;
	if (s->pins == 0 && s->state == SLICE_FAILED)
		free(s);
}

void cache_put(struct cache *c, struct slice *s)
{
	struct cache_shard *sh = cache_shard_of(c, s->host_off);
	SCOPED_LOCK(&sh->lock);

	IF_VALIDATING(shard_validate(c, sh));
	unpin(s);
}

void cache_pin(struct cache *c, struct slice *s)
{
	SCOPED_LOCK(&cache_shard_of(c, s->host_off)->lock);

	assert(s->pins > 0 && s->state == SLICE_READY);
	s->pins++;
}

bool cache_has_pinned(struct cache *c, const struct slice *s)
{
	struct cache_shard *sh = cache_shard_of(c, s->host_off);
	SCOPED_LOCK(&sh->lock);

	return shard_find(c, sh, s->host_off) == s && s->pins > 0 &&
	       s->state == SLICE_READY;
}

void cache_forget(struct cache *c, uint64_t len, uint64_t host_off)
{
	for (uint64_t off = host_off; off < host_off + len;
	     off += c->slice_bytes) {
		struct cache_shard *sh = cache_shard_of(c, off);
		struct slice *s;
		SCOPED_LOCK(&sh->lock);

		s = shard_find(c, sh, off);
		if (!s)
			continue;
		assert(s->pins == 0 && !s->dirty);
		cache_shard_remove(c, sh, s);
		free(s);
	}
}

uint64_t cache_capacity(const struct cache *c)
{
	return (uint64_t)c->shards[0].max_slices * c->n_shards;
}

static void slice_loaded(struct cache *c, struct slice *s, int error,
			 bool keep_pin)
{
	struct cache_shard *sh = cache_shard_of(c, s->host_off);
	SCOPED_LOCK(&sh->lock);

	assert(s->state == SLICE_LOADING && s->pins > 0);
	s->state = error ? SLICE_FAILED : SLICE_READY;
	if (error)
		cache_shard_remove(c, sh, s);
	if (!keep_pin || error)
		unpin(s);
	IF_VALIDATING(shard_validate(c, sh));
	pthread_cond_broadcast(&sh->loaded);
}

/* Another thread is reading the slice, which we have pinned.  False when it
 * failed; the pin is gone then. */
static bool slice_wait(struct cache_shard *sh, struct slice *s)
{
	while (s->state == SLICE_LOADING)
		pthread_cond_wait(&sh->loaded, &sh->lock);
	if (s->state == SLICE_READY)
		return true;
	unpin(s);
	return false;
}

static void update_words(struct slice *s, const uint8_t *bytes, uint32_t len)
{
	_Atomic uint64_t *words = (_Atomic uint64_t *)(void *)s->data;

	atomic_fetch_add(&s->seq, 1);
	for (uint32_t i = 0; i < len / sizeof(*words); i++) {
		uint64_t word;

		memcpy(&word, bytes + i * sizeof(word), sizeof(word));
		if (atomic_load_explicit(&words[i], memory_order_relaxed) !=
		    word)
			atomic_store_explicit(&words[i], word,
					      memory_order_release);
	}
	atomic_fetch_add(&s->seq, 1);
}

void cache_update(struct cache *c, const uint8_t *bytes, uint64_t len,
		  uint64_t host_off)
{
	assert(is_aligned(host_off | len, c->slice_bytes));
	for (uint64_t at = 0; at < len; at += c->slice_bytes) {
		struct cache_shard *sh = cache_shard_of(c, host_off + at);
		SCOPED_LOCK(&sh->lock);
		struct slice *s = shard_find(c, sh, host_off + at);

		if (!s)
			continue;
		s->pins++;
		/* One that is being read may get what the file had before. */
		if (!slice_wait(sh, s))
			continue;
		assert(!s->dirty);
		update_words(s, bytes + at, c->slice_bytes);
		unpin(s);
	}
}

/* Slices to read from @host_off on: one, or more for a sequential reader. */
static unsigned ahead_count(struct cache *c, uint64_t host_off,
			    uint64_t ahead_end)
{
	uint64_t n = 1;

	if (atomic_load_explicit(&c->next_off, memory_order_relaxed) ==
	    host_off)
		n = AHEAD_BYTES_MAX / c->slice_bytes;
	n = min_u64(n, AHEAD_SLICES_MAX);
	n = min_u64(n, (ahead_end - host_off) / c->slice_bytes);
	/* A small cache must not be flushed by one reader. */
	n = min_u64(n, (uint64_t)c->shards[0].max_slices * c->n_shards / 4);
	return (unsigned)max_u64(n, 1);
}

/* Inserts LOADING slices behind @list[0] as long as they are not cached. */
static unsigned reserve_ahead(struct cache *c, struct slice **list, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint64_t off = list[0]->host_off + (uint64_t)i * c->slice_bytes;
		struct cache_shard *sh = cache_shard_of(c, off);
		SCOPED_LOCK(&sh->lock);

		if (shard_find(c, sh, off))
			return i;
		list[i] = shard_insert(c, sh, off);
		if (!list[i])
			return i;
	}
	return n;
}

/* Reads @first, which this thread inserted, and what should come with it. */
static int cache_load(struct cache *c, struct slice *first, uint64_t ahead_end,
		      unsigned flags, struct qcow2_error *err)
{
	struct slice *list[AHEAD_SLICES_MAX] = { first };
	struct iovec iov[AHEAD_SLICES_MAX];
	uint64_t off = first->host_off;
	unsigned n = ahead_count(c, off, ahead_end);
	int rc;

	n = reserve_ahead(c, list, n);
	for (unsigned i = 0; i < n; i++)
		iov[i] = (struct iovec){ list[i]->data, c->slice_bytes };
	rc = store_preadv(c->file, iov, (int)n, off, flags, err);
	for (unsigned i = 0; i < n; i++)
		slice_loaded(c, list[i], rc, i == 0);
	atomic_store_explicit(&c->next_off, off + (uint64_t)n * c->slice_bytes,
			      memory_order_relaxed);
	return rc;
}

/* ---- Cleaning ------------------------------------------------------------ */

void cache_set_clean(struct cache *c, uint32_t sec)
{
	c->clean_sec = sec;
}

/* One thread an interval looks at all shards. */
static void clean_if_due(struct cache *c, uint32_t now)
{
	uint32_t due =
		atomic_load_explicit(&c->clean_due, memory_order_relaxed);

	if (now < due || now < c->clean_sec ||
	    !atomic_compare_exchange_strong(&c->clean_due, &due,
					    now + c->clean_sec))
		return;
	for (uint32_t i = 0; i < c->n_shards; i++) {
		SCOPED_LOCK(&c->shards[i].lock);

		shard_clean(c, &c->shards[i], now - c->clean_sec + 1);
		IF_VALIDATING(shard_validate(c, &c->shards[i]));
	}
}

uint64_t cache_count(const struct cache *c)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->n_shards; i++) {
		SCOPED_LOCK(&c->shards[i].lock);

		n += c->shards[i].n_slices;
	}
	return n;
}

void cache_get_stats(const struct cache *c, struct qcow2_cache_stats *out)
{
	*out = (struct qcow2_cache_stats){ 0 };
	for (uint32_t i = 0; i < c->n_shards; i++) {
		struct cache_shard *sh = &c->shards[i];
		SCOPED_LOCK(&sh->lock);

		out->hits += sh->n_hits;
		out->misses += sh->n_misses;
		out->evictions += sh->n_evictions;
		out->bytes += (uint64_t)sh->n_slices * c->slice_bytes;
	}
	out->bytes_max = cache_capacity(c) * c->slice_bytes;
}

/* ---- Looking up ---------------------------------------------------------- */

enum found {
	FOUND_READY,  /* pinned */
	FOUND_ABSENT, /* inserted and pinned: the caller loads it */
	FOUND_FAILED, /* somebody else's read of it failed: ask again */
	FOUND_BUSY,   /* being read, and the caller does not wait */
	FOUND_NOMEM,
};

static enum found find_or_insert(struct cache *c, uint64_t host_off,
				 unsigned flags, uint32_t now,
				 struct slice **out)
{
	struct cache_shard *sh = cache_shard_of(c, host_off);
	SCOPED_LOCK(&sh->lock);
	struct slice *s = shard_find(c, sh, host_off);

	IF_VALIDATING(shard_validate(c, sh));
	if (!s) {
		sh->n_misses++;
		*out = shard_insert(c, sh, host_off);
		IF_VALIDATING(shard_validate(c, sh));
		return *out ? FOUND_ABSENT : FOUND_NOMEM;
	}
	if (s->state == SLICE_LOADING && (flags & QCOW2_STORE_NOWAIT))
		return FOUND_BUSY;
	sh->n_hits++;
	s->pins++;
	s->used_sec = now;
	if (s != sh->lru_first) {
		lru_unlink(sh, s);
		lru_push(sh, s);
	}
	*out = s;
	return slice_wait(sh, s) ? FOUND_READY : FOUND_FAILED;
}

int cache_get(struct cache *c, uint64_t host_off, uint64_t ahead_end,
	      unsigned flags, struct slice **out, struct qcow2_error *err)
{
	uint32_t now = now_sec(c);

	assert(is_aligned(host_off, c->slice_bytes));
	if (c->clean_sec)
		clean_if_due(c, now);
	for (;;) {
		switch (find_or_insert(c, host_off, flags, now, out)) {
		case FOUND_READY:
			return 0;
		case FOUND_ABSENT:
			return cache_load(c, *out, ahead_end, flags, err);
		case FOUND_BUSY:
			return error_set(err, -EAGAIN,
					 "metadata is being read");
		case FOUND_NOMEM:
			return error_nomem(err, "a table slice",
					   c->slice_bytes);
		case FOUND_FAILED:
			break;
		}
	}
}
