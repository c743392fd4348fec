/*
 * Other refcounts in place of those in memory (O25).
 */
#ifndef COUNTS_REPLACE_H
#define COUNTS_REPLACE_H

#include "counts/refcounts.h"

/*
 * Takes up the refcounts that the header @h points to now, which count the same
 * clusters as these and what they themselves take; then the old table and its
 * blocks lose their refcounts.  The geometry is that of @h already.  Nothing is
 * dirty and nobody else is at work.
 *
 * Where they cannot be read, refcounts_broken() says so, and nothing is counted
 * any more.  Where something old cannot be freed it leaks.
 */
int refcounts_replace(struct refcounts *r, const struct header *h,
		      struct qcow2_error *err);

#endif
