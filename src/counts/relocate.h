/*
 * Moving refcount metadata to another place.
 */
#ifndef COUNTS_RELOCATE_H
#define COUNTS_RELOCATE_H

#include "counts/refcounts.h"

/*
 * Block @index, or the table, moves to the clusters from @host_off on, which
 * have their refcounts.  Everything is durable before, nobody else is at
 * work, and the old place keeps its refcount for the caller to take.
 *
 * Order: the copy, then what points to it, each durable before the next step.
 * After a write that failed either copy may count until the next commit says
 * that the old one does; so both places keep their refcounts, and both are told
 * to be metadata.  After a copy that failed only the old one is.
 */
int refcounts_relocate_block(struct refcounts *r, uint64_t index,
			     uint64_t host_off, struct qcow2_error *err);
int refcounts_relocate_table(struct refcounts *r, uint64_t host_off,
			     struct qcow2_error *err);

#endif
