/*
 * The overlap guard: host clusters that hold metadata, which no guest write
 * may touch.
 *
 * In a sound image nothing ever hits it; it stands between a damaged or
 * hostile L2 entry and the image's own tables.  It knows the header, the L1
 * and refcount tables, refcount blocks, L2 tables, the snapshot table with its
 * L1 tables, and the bitmap directory, each as a section that can be switched
 * off (QCOW2_OVERLAP_*).
 *
 * A set of cluster numbers with the sections each belongs to: looking one up
 * takes no lock, so that overwrites do not meet here; adding and removing take
 * guard.lock, a leaf.
 */
#ifndef WRITE_GUARD_H
#define WRITE_GUARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/tally.h"
#include "base/validate.h"

/* Tables that are written anew beside the old ones: an L1 table or a snapshot
 * table is in all of these until it is freed. */
#define GUARD_TABLES                                           \
	(QCOW2_OVERLAP_ACTIVE_L1 | QCOW2_OVERLAP_INACTIVE_L1 | \
	 QCOW2_OVERLAP_SNAPSHOT_TABLE)

/* A slot holds sections above a cluster number; 0 is empty, since cluster 0 is
 * the header and looked up by itself.  A slot never gets another number. */
struct guard_table {
	struct guard_table *older; /* kept for readers that still use it */
	uint64_t mask;
	_Atomic uint64_t slots[];
};

struct guard {
	uint32_t cluster_bits;
	uint32_t sections; /* those that count */
	_Atomic(struct guard_table *) table;
	pthread_mutex_t lock; /* protects changes and what follows */
	uint64_t n_used;      /* slots that are not empty */
	struct tally asked;   /* needs no lock */
};

/* The caller must hold g->lock, or have the image to itself.  Of a large set it
 * looks at a part. */
VALIDATOR(guard);

/* @sections: QCOW2_OVERLAP_*.  @n_clusters: about as many will be added. */
int guard_init(struct guard *g, uint32_t sections, uint32_t cluster_bits,
	       uint64_t n_clusters, struct qcow2_error *err);
void guard_release(struct guard *g);

/* [host_off, host_off + len), in whole clusters, belongs to @sections. */
int guard_add(struct guard *g, uint32_t sections, uint64_t len,
	      uint64_t host_off, struct qcow2_error *err);
/* It does not any more. */
void guard_remove(struct guard *g, uint32_t sections, uint64_t len,
		  uint64_t host_off);
/* Nothing does. */
void guard_clear(struct guard *g, uint32_t sections);

/* True when one of the clusters that the range touches is in a section that
 * counts. */
bool guard_hits(struct guard *g, uint64_t len, uint64_t host_off);

/* The number of calls of guard_hits(). */
uint64_t guard_count_asked(const struct guard *g);

#endif
