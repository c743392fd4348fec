/*
 * One new refcount block, for the files of counts/ only: with grow_lock held.
 */
#ifndef COUNTS_BLOCK_H
#define COUNTS_BLOCK_H

#include "counts/refcounts.h"

/* Clusters that one block describes. */
static inline uint64_t block_clusters(const struct refcounts *r)
{
	return UINT64_C(1) << r->geo->refcount_block_bits;
}

/* Writes a block at @host_off in which clusters [first, first + n) of its
 * region have refcount 1. */
int block_write(struct refcounts *r, uint64_t n, uint64_t first,
		uint64_t host_off, struct qcow2_error *err);

/* The block is durable.  Its entry goes with the refcounts of the next commit,
 * as those in the block do. */
void block_link(struct refcounts *r, uint64_t index, uint64_t host_off);

/* Makes block @index, for which the table has an entry, at the end of the file;
 * 1, and nothing is made, when that is not in its region. */
int block_add(struct refcounts *r, uint64_t index, struct qcow2_error *err);

#endif
