/*
 * Where refcounts are: walks that cost what the metadata costs, however long
 * the file is.
 *
 * A sparse file can end exabytes behind its last cluster.  What the refcount
 * table has no block for is skipped in one step; it reads as free.
 */
#ifndef COUNTS_USED_H
#define COUNTS_USED_H

#include <stdint.h>

#include <qcow2.h>

struct refcounts;

/* The first cluster from @from on for which there is a refcount block;
 * UINT64_MAX: none. */
uint64_t refcounts_next_described(struct refcounts *r, uint64_t from);

/* No cluster from it on has a refcount block. */
uint64_t refcounts_described_end(struct refcounts *r);

/* The end of the last cluster of [first, end) with a refcount; @first where
 * there is none.  *used_end is not changed on failure. */
int refcounts_used_end(struct refcounts *r, uint64_t first, uint64_t end,
		       uint64_t *used_end, struct qcow2_error *err);

#endif
