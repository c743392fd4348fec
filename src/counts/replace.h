/*
 * Other refcounts in place of those in memory (O25).
 */
#ifndef COUNTS_REPLACE_H
#define COUNTS_REPLACE_H

#include "counts/refcounts.h"

/*
 * Takes up the refcounts that the header @h points to now, which count the same
 * clusters as these and their own; then the old table and its blocks lose their
 * refcounts.  The geometry is that of @h already.  Nothing may be dirty, and
 * the caller must have exclusive access.
 *
 * If they cannot be read, refcounts_broken() says so, and nothing is counted
 * any more.  Old clusters that cannot be freed leak.
 */
int refcounts_replace(struct refcounts *r, const struct header *h,
		      struct qcow2_error *err);

#endif
