/*
 * The slice cache over a counting memory store.
 */
#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "store/store.h"
#include "support/test.h"

enum { SLICE = 512, SLICES = 4096 };

/* A store whose every slice holds its own number, and which can fail. */
struct counting {
	pthread_mutex_t lock;
	unsigned n_reads;
	int fail_with;
};

static int counting_preadv(void *self, const struct iovec *iov, int iovcnt,
			   uint64_t off, unsigned flags,
			   struct qcow2_error *err)
{
	struct counting *c = self;
	int rc;

	(void)err;
	pthread_mutex_lock(&c->lock);
	c->n_reads++;
	rc = c->fail_with;
	pthread_mutex_unlock(&c->lock);
	if (flags & QCOW2_STORE_NOWAIT)
		return -EAGAIN;
	for (int i = 0; rc == 0 && i < iovcnt; i++) {
		memset(iov[i].iov_base, 0, iov[i].iov_len);
		put_be64(iov[i].iov_base, off / SLICE);
		off += iov[i].iov_len;
	}
	return rc;
}

static int counting_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	(void)self;
	*size = (uint64_t)SLICE * SLICES;
	return 0;
}

static struct qcow2_store *make_store(struct counting *c)
{
	struct qcow2_store_ops ops = { .struct_size = sizeof(ops),
				       .preadv = counting_preadv,
				       .size = counting_size };
	struct qcow2_store *s;

	pthread_mutex_init(&c->lock, NULL);
	assert_int_equal(store_new(&ops, c, "counting", true, &s, NULL), 0);
	return s;
}

static void expect_slice(struct cache *c, uint64_t i)
{
	struct slice *s;

	assert_int_equal(
		cache_get(c, i * SLICE, (uint64_t)SLICE * SLICES, 0, &s, NULL),
		0);
	assert_int_equal(get_be64(s->data), i);
	cache_put(c, s);
}

TEST(a_second_look_reads_nothing)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct cache c;

	assert_int_equal(cache_init(&c, store, 64 * SLICE, SLICE, NULL), 0);
	expect_slice(&c, 7);
	expect_slice(&c, 7);
	assert_int_equal(counting.n_reads, 1);
	cache_release(&c);
	store_unref(store);
}

TEST(sequential_misses_read_ahead)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct cache c;

	assert_int_equal(cache_init(&c, store, 1024 * SLICE, SLICE, NULL), 0);
	for (uint64_t i = 0; i < 512; i++)
		expect_slice(&c, i);
	assert_in_range(counting.n_reads, 2, 512 / 16);
	cache_release(&c);
	store_unref(store);
}

TEST(never_keeps_more_slices_than_asked)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct cache c;
	uint64_t kept = 0;

	assert_int_equal(cache_init(&c, store, 40 * SLICE, SLICE, NULL), 0);
	for (uint64_t i = 0; i < SLICES; i += 3)
		expect_slice(&c, i);
	for (uint32_t i = 0; i < c.n_shards; i++)
		kept += c.shards[i].n_slices;
	assert_in_range(kept, 1, 40);
	cache_release(&c);
	store_unref(store);
}

TEST(a_failed_read_leaves_nothing_behind)
{
	struct counting counting = { .fail_with = -EIO };
	struct qcow2_store *store = make_store(&counting);
	struct slice *s;
	struct cache c;

	assert_int_equal(cache_init(&c, store, 64 * SLICE, SLICE, NULL), 0);
	assert_int_equal(cache_get(&c, 0, SLICE, 0, &s, NULL), -EIO);
	counting.fail_with = 0;
	expect_slice(&c, 0);
	cache_release(&c);
	store_unref(store);
}

TEST(nowait_is_answered_from_memory_only)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct slice *s;
	struct cache c;

	assert_int_equal(cache_init(&c, store, 64 * SLICE, SLICE, NULL), 0);
	assert_int_equal(cache_get(&c, 0, SLICE, QCOW2_STORE_NOWAIT, &s, NULL),
			 -EAGAIN);
	expect_slice(&c, 0);
	assert_int_equal(cache_get(&c, 0, SLICE, QCOW2_STORE_NOWAIT, &s, NULL),
			 0);
	cache_put(&c, s);
	cache_release(&c);
	store_unref(store);
}

struct hammer {
	struct cache *c;
	uint64_t seed;
};

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	struct test_rng rng = test_rng_init(h->seed);

	for (int i = 0; i < 20000; i++)
		expect_slice(h->c, test_rng_below(&rng, 256));
	return NULL;
}

/* The cache shows bytes that were written past it; slices that are not cached
 * are left to be read. */
TEST(an_update_changes_what_is_cached_and_nothing_else)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	uint8_t *bytes = calloc(3, SLICE);
	struct slice *s;
	struct cache c;

	assert_non_null(bytes);
	assert_int_equal(cache_init(&c, store, 64 * SLICE, SLICE, NULL), 0);
	assert_int_equal(cache_get(&c, 7 * SLICE, 8 * SLICE, 0, &s, NULL), 0);
	expect_slice(&c, 10);
	put_be64(bytes + SLICE, 4711);
	put_be64(bytes + 2 * SLICE - 8, 4712);
	cache_update(&c, bytes, 3 * SLICE, 6 * SLICE);
	assert_int_equal(cache_count(&c), 2);
	assert_int_equal(get_be64(s->data), 4711);
	assert_int_equal(get_be64(s->data + SLICE - 8), 4712);
	assert_int_equal(atomic_load(&s->seq) % 2, 0);
	cache_put(&c, s);
	expect_slice(&c, 10);
	expect_slice(&c, 8);
	cache_release(&c);
	store_unref(store);
	free(bytes);
}

TEST(threads_see_the_right_slices_under_eviction)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	uint64_t seed = test_seed();
	struct hammer h[4];
	pthread_t t[4];
	struct cache c;

	assert_int_equal(cache_init(&c, store, 64 * SLICE, SLICE, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		h[i] = (struct hammer){ &c, seed + i };
		assert_int_equal(pthread_create(&t[i], NULL, hammer, &h[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	cache_release(&c);
	store_unref(store);
}

TEST_SLOW(slices_that_nobody_uses_leave_after_the_interval)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct slice *pinned;
	struct cache c;

	assert_int_equal(cache_init(&c, store, 64 * SLICE, SLICE, NULL), 0);
	cache_set_clean(&c, 1);
	for (uint64_t i = 0; i < 10; i++)
		expect_slice(&c, 10 + 2 * i);
	assert_int_equal(
		cache_get(&c, 100 * SLICE, 101 * SLICE, 0, &pinned, NULL), 0);
	assert_int_equal(cache_count(&c), 11);
	usleep(2100 * 1000);
	expect_slice(&c, 10);
	/* The one that was just used, and the one in use. */
	assert_int_equal(cache_count(&c), 2);
	cache_put(&c, pinned);
	cache_release(&c);
	store_unref(store);
}

TEST_SLOW(slices_in_use_stay_past_the_interval)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct cache c;

	assert_int_equal(cache_init(&c, store, 64 * SLICE, SLICE, NULL), 0);
	cache_set_clean(&c, 2);
	for (unsigned i = 0; i < 30; i++) {
		expect_slice(&c, 5);
		usleep(100 * 1000);
	}
	assert_int_equal(counting.n_reads, 1);
	cache_release(&c);
	store_unref(store);
}

TEST(hits_misses_and_evictions_are_counted)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct qcow2_cache_stats n;
	struct cache c;

	assert_int_equal(cache_init(&c, store, 4 * SLICE, SLICE, NULL), 0);
	for (uint64_t i = 0; i < 6; i++)
		expect_slice(&c, 2 * i);
	expect_slice(&c, 10);
	expect_slice(&c, 0);
	expect_slice(&c, 0);
	cache_get_stats(&c, &n);
	assert_int_equal(n.hits, 2);
	assert_int_equal(n.misses, 7);
	assert_int_equal(n.evictions, 3);
	assert_int_equal(n.bytes, 4 * SLICE);
	assert_int_equal(n.bytes_max, 4 * SLICE);
	cache_release(&c);
	store_unref(store);
}

TEST(what_was_forgotten_was_not_evicted)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct qcow2_cache_stats n;
	struct cache c;

	assert_int_equal(cache_init(&c, store, 4 * SLICE, SLICE, NULL), 0);
	expect_slice(&c, 1);
	cache_forget(&c, SLICE, SLICE);
	cache_get_stats(&c, &n);
	assert_int_equal(n.misses, 1);
	assert_int_equal(n.evictions, 0);
	assert_int_equal(n.bytes, 0);
	cache_release(&c);
	store_unref(store);
}

TEST(a_cache_that_lost_its_order_is_noticed)
{
	struct counting counting = { 0 };
	struct qcow2_store *store = make_store(&counting);
	struct cache_shard *sh;
	struct slice *s;
	struct cache c;

	assert_int_equal(cache_init(&c, store, 4 * SLICE, SLICE, NULL), 0);
	for (uint64_t i = 1; i < 4; i++)
		expect_slice(&c, i);
	cache_validate(&c);
	sh = &c.shards[0];
	s = sh->lru_first;
	ASSERT_ABORTS(sh->n_slices++; cache_validate(&c));
	ASSERT_ABORTS(sh->n_slices--; cache_validate(&c));
	ASSERT_ABORTS(sh->bucket_mask++; cache_validate(&c));
	ASSERT_ABORTS(sh->lru_last = NULL; cache_validate(&c));
	ASSERT_ABORTS(sh->lru_last = s; cache_validate(&c));
	ASSERT_ABORTS(s->lru_next->lru_prev = NULL; cache_validate(&c));
	ASSERT_ABORTS(s->host_off++; cache_validate(&c));
	ASSERT_ABORTS(s->host_off += (uint64_t)SLICE << 20; cache_validate(&c));
	ASSERT_ABORTS(s->state = SLICE_LOADING; cache_validate(&c));
	ASSERT_ABORTS(s->state = SLICE_FAILED; cache_validate(&c));
	ASSERT_ABORTS(s->dirty = true; cache_validate(&c));
	ASSERT_ABORTS(s->seq++; cache_validate(&c));
	ASSERT_ABORTS(c.slice_bytes--; cache_validate(&c));
	ASSERT_ABORTS(c.n_shards = 3; cache_validate(&c));
	ASSERT_ABORTS(c.next_off = 1; cache_validate(&c));
	ASSERT_ABORTS(c.file = NULL; cache_validate(&c));
	ASSERT_ABORTS(cache_put(&c, s));
	ASSERT_ABORTS(cache_pin(&c, s));
	cache_release(&c);
	store_unref(store);
}
