/*
 * Giving up space that nothing uses any more: refcount blocks and the end of
 * the table that describe nothing, and the end of the file.
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

/* Cuts the file off behind the last cluster with a refcount.  Clusters that it
 * held when it was opened stay, unless some of them became free since (O39).
 * Nobody else is at work and nothing is dirty. */
int refcounts_cut_tail(struct refcounts *r, struct qcow2_error *err);

#endif
