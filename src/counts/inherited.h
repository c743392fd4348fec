/*
 * Clusters that the file held when it was opened (O39).
 *
 * Their refcounts are somebody else's word.  Until refcounts_believe() says
 * that each has been held against the references there are, none of these
 * clusters is claimed, punched or cut off, whatever its refcount is: clusters
 * are claimed behind them.
 */
#ifndef COUNTS_INHERITED_H
#define COUNTS_INHERITED_H

#include "counts/refcounts.h"

/* The present clusters of the file are inherited, and their refcounts are
 * doubted. */
void refcounts_doubt(struct refcounts *r);

/* No refcount is too low any more. */
void refcounts_believe(struct refcounts *r);

/* Whether the refcount of a cluster says that it is free, or will say so when
 * it is lowered: false for what is inherited and doubted. */
bool refcounts_may_reuse(const struct refcounts *r, uint64_t cluster_idx);

/* The file is not cut off before this cluster: inherited clusters stay, unless
 * one of them became free since and refcounts are believed. */
uint64_t refcounts_cut_limit(struct refcounts *r);

/* The caller gave up space, and wants the file cut off wherever it can be. */
void refcounts_allow_cut(struct refcounts *r);

/*
 * Makes the refcounts of @n clusters from @first at least @count; adds the
 * number of those that were lower to *n_raised.  1 where a block is missing:
 * the clusters before it are raised.  -ERANGE for a count beyond the maximum.
 */
int refcounts_raise(struct refcounts *r, uint64_t n, uint64_t first,
		    uint64_t count, uint64_t *n_raised,
		    struct qcow2_error *err);

#endif
