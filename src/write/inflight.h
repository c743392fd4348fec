/*
 * Requests under way that write: two that overlap run one after the other.
 *
 * The disk is divided into regions, each with its own lock, so that writers in
 * different places never meet.  A range lies in one region.  A request that has
 * to wait holds nothing while waiting.
 *
 * The bytes of some requests are carried by the kernel, and their ranges are
 * left when somebody looks after the results.  Whoever waits does that himself
 * (struct inflight_carrier): he may be the one who ought to have done it.
 */
#ifndef WRITE_INFLIGHT_H
#define WRITE_INFLIGHT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/validate.h"

enum {
	INFLIGHT_REGION_BITS = 21, /* the largest cluster: 2 MiB */
	INFLIGHT_SHARDS = 16,
};

struct inflight_range {
	struct inflight_range *next;
	uint64_t off;
	uint64_t end;
};

struct inflight_shard {
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct inflight_range *ranges;
	uint64_t n_left; /* ranges that were left so far */
};

/* A queue of requests whose bytes are carried elsewhere. */
struct inflight_carrier {
	struct inflight_carrier *next;
	/* Ends the requests whose bytes have arrived.  Must neither wait for
	 * ranges nor add or remove carriers. */
	void (*advance)(void *opaque);
	void *opaque;
};

struct inflight {
	struct inflight_shard shards[INFLIGHT_SHARDS];
	pthread_mutex_t carriers_lock; /* taken with no shard's lock held */
	struct inflight_carrier *carriers;
	_Atomic bool has_carriers; /* read without the lock */
};

/* The caller must hold the lock of the shard, or have the image to itself. */
VALIDATOR(inflight_shard);

void inflight_init(struct inflight *f);
void inflight_release(struct inflight *f);

/* Before the first range of its requests is entered, and after the last was
 * left. */
void inflight_add_carrier(struct inflight *f, struct inflight_carrier *c);
void inflight_remove_carrier(struct inflight *f, struct inflight_carrier *c);

/* The end of the region that @off lies in. */
static inline uint64_t inflight_region_end(uint64_t off)
{
	return ((off >> INFLIGHT_REGION_BITS) + 1) << INFLIGHT_REGION_BITS;
}

/* Enters [off, end), inside one region.  Without @wait: false when somebody
 * is there. */
bool inflight_enter(struct inflight *f, struct inflight_range *r, uint64_t off,
		    uint64_t end, bool wait);
void inflight_leave(struct inflight *f, struct inflight_range *r);

/* Makes @r, which was entered, [off, end) around it, unless somebody else is
 * there: false then, and @r stays as it is.  Never waits. */
bool inflight_widen(struct inflight *f, struct inflight_range *r, uint64_t off,
		    uint64_t end);

/* A range over everything, which keeps all writers out. */
struct inflight_freeze {
	struct inflight_range all[INFLIGHT_SHARDS];
};

/* Waits for the writers that are there; those who come later wait for
 * inflight_thaw().  One freeze at a time. */
void inflight_freeze(struct inflight *f, struct inflight_freeze *z);
void inflight_thaw(struct inflight *f, struct inflight_freeze *z);

#endif
