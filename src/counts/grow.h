/*
 * New refcount blocks and larger refcount tables.
 */
#ifndef COUNTS_GROW_H
#define COUNTS_GROW_H

#include "counts/refcounts.h"

/*
 * Makes the refcount block that describes @cluster_idx, and a larger table if
 * need be.  Another thread may have done it meanwhile: that is success.  1, and
 * nothing is made, when the file reaches beyond the clusters that the block
 * would describe: it has to lie among them.
 *
 * Order (O11): the block, which describes itself, is durable before the table
 * entry that points to it.  (O12): a new table and the blocks that describe it
 * are durable before the header points to it; the old table is freed after.
 */
int refcounts_add_block(struct refcounts *r, uint64_t cluster_idx,
			struct qcow2_error *err);

/*
 * Makes the refcount block that describes @cluster_idx and is missing, in the
 * table that reaches to it; the block counts nothing.  It goes to @host_off,
 * which the caller claimed and which is counted durably: by another block, so
 * that the regions in the middle of a file can have one again.
 */
int refcounts_add_block_at(struct refcounts *r, uint64_t cluster_idx,
			   uint64_t host_off, struct qcow2_error *err);

/* For the files of counts/, with grow_lock held: makes a larger table at the
 * end of the file that reaches @n_regions regions beyond its beginning. */
int refcounts_grow_table(struct refcounts *r, uint64_t n_regions,
			 struct qcow2_error *err);

#endif
