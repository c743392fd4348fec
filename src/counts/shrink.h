/*
 * Giving up what nothing is in any more: refcount blocks and the end of the
 * table that describe nothing, and the end of the file.
 */
#ifndef COUNTS_SHRINK_H
#define COUNTS_SHRINK_H

#include <stdbool.h>

#include "counts/refcounts.h"

/*
 * Drops the last refcount blocks as far as nothing but they themselves has a
 * refcount in them, and then the end of the table that is empty.  Nothing may
 * be dirty and nobody else at work.  *more: refcounts have changed by it, and
 * after a commit there may be more to drop.
 *
 * Order: table entries lose the block, durably, before its cluster can be used
 * again; the header has the smaller table before the end of it is free.
 */
int refcounts_shrink(struct refcounts *r, bool *more, struct qcow2_error *err);

/* Cuts off what lies behind the last cluster with a refcount; of what the file
 * held when it was opened nothing, unless some of that became free since (O39).
 * Nobody else is at work and nothing is dirty. */
int refcounts_cut_tail(struct refcounts *r, struct qcow2_error *err);

#endif
