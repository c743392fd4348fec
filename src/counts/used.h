/*
 * Walks over existing refcounts, which cost what the metadata costs, however
 * long the file is.
 *
 * A sparse file can end exabytes behind its last cluster.  A part without
 * refcount blocks is skipped in one step; it reads as free.
 */
#ifndef COUNTS_USED_H
#define COUNTS_USED_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "counts/refcounts.h"

/* Returns the place of the refcount table. */
struct reftable_place refcounts_table_place(struct refcounts *r);

/*
 * The first refcount block from entry *index of the table on: its entry, and
 * its host offset.  False when there is none.
 *
 *	for (uint64_t i = 0; refcounts_next_block(r, &i, &host_off); i++)
 */
bool refcounts_next_block(struct refcounts *r, uint64_t *index,
			  uint64_t *host_off);

/* False for a cluster that reads as free because no block describes it.  The
 * caller has the image to itself. */
bool refcounts_has_block(const struct refcounts *r, uint64_t cluster_idx);

/* The first cluster from @from on for which there is a refcount block;
 * UINT64_MAX: none. */
uint64_t refcounts_next_described(struct refcounts *r, uint64_t from);

/* No cluster from it on has a refcount block. */
uint64_t refcounts_described_end(struct refcounts *r);

/* The end of the last cluster of [first, end) with a refcount; @first where
 * there is none.  *used_end is not changed on failure. */
int refcounts_used_end(struct refcounts *r, uint64_t first, uint64_t end,
		       uint64_t *used_end, struct qcow2_error *err);

/*
 * A walk over those clusters of [first, end) that refcount blocks describe.
 * Many refcounts are read at once: it may miss what changes meanwhile.
 *
 *	refcount_walk_init(&w, r, first, end);
 *	while ((rc = refcount_walk_next(&w, err)) > 0)
 *		use(w.cluster_idx, w.count);
 */
enum { REFCOUNT_WALK_READ = 512 };

struct refcount_walk {
	/* The point that it has reached. */
	uint64_t cluster_idx;
	uint64_t count;

	/* Its own. */
	struct refcounts *refs;
	uint64_t end;
	uint64_t next;      /* cluster index */
	uint64_t read_from; /* cluster index of values[0] */
	uint64_t read_end;
	uint64_t values[REFCOUNT_WALK_READ];
};

void refcount_walk_init(struct refcount_walk *w, struct refcounts *r,
			uint64_t first, uint64_t end);

/* 1, 0 behind the last, or a negative errno. */
int refcount_walk_next(struct refcount_walk *w, struct qcow2_error *err);

#endif
