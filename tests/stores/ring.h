/*
 * A ring that a test steers: it moves bytes between requests and a store, when
 * and as far as the test wants it, in any order.
 *
 *	struct test_ring *ring = test_ring_new(store, 16);
 *	struct qcow2_queue *q = test_ring_queue(img, ring, pool);
 *
 *	ring->held = true;
 *	... submit: the transfers are under way ...
 *	test_ring_release(ring);
 *	... reap ...
 *
 * The queue frees the ring.
 */
#ifndef STORES_RING_H
#define STORES_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "queue/ring.h"

struct test_transfer {
	struct ring_transfer t;
	bool submitted;
	bool is_done; /* the bytes have moved, or will not */
	int res;
};

/* A chance is how many of 16 transfers. */
struct test_ring {
	struct ring base;
	struct qcow2_store *store;
	int event_fd;
	uint32_t depth;
	pthread_mutex_t lock; /* protects what follows */
	struct test_transfer *transfers;
	uint32_t n;
	uint64_t random;
	bool held;          /* nothing is done until it is released */
	unsigned late;      /* chance to stay when the ring is asked */
	unsigned early;     /* chance that the bytes move long before */
	unsigned is_short;  /* chance that only some bytes move */
	unsigned no_answer; /* chance of -EAGAIN, -EINTR or -ECANCELED */
	unsigned fails;     /* chance of -EIO or -ENOSPC */
	unsigned n_failing_submits; /* so many still fail */
	uint64_t n_submits;
};

/* Makes the store one whose transfers a ring can carry; it must be the
 * image's. */
struct test_ring *test_ring_new(struct qcow2_store *store, uint32_t depth);
/* A queue for the public calls; `pool` may be NULL. */
struct qcow2_queue *test_ring_queue(struct qcow2_image *img,
				    struct test_ring *ring,
				    struct qcow2_pool *pool);

/* Until now nothing was done. */
void test_ring_release(struct test_ring *ring);
/* The transfers that were begun, and not handed back. */
uint32_t test_ring_under_way(struct test_ring *ring);
/* One of them, the number @i, ends with @res without any byte moved; it can be
 * reaped, although the ring is held. */
void test_ring_end(struct test_ring *ring, uint32_t i, int res);

#endif
