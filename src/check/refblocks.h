/*
 * The stored refcounts: the refcount table, and a digest of its blocks in the
 * words of the reference counters.
 */
#ifndef CHECK_REFBLOCKS_H
#define CHECK_REFBLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "check/refs.h"

struct check;

/* Refcounts that cannot be known: the block is unreadable or out of place. */
#define REFBLOCK_UNKNOWN UINT64_MAX

/* Host offsets of the blocks that count clusters of the file, 0 where there is
 * none.  Blocks that count only clusters past the end of the file are not kept,
 * so that nothing is sized by what they claim. */
struct refblocks {
	uint64_t *offs;
	size_t n;
};

/* The caller's thread alone is at work for the check, as for
 * check_validate(). */
void refblocks_validate(const struct check *c);

/* Counts and checks the table and its entries, and loads the digest. */
int refblocks_load(struct check *c, struct qcow2_error *err);
void refblocks_release(struct check *c);

/* False where the stored refcount of a cluster cannot be known. */
bool refblocks_known(const struct check *c, uint64_t cluster_idx);

/* The digest of a cluster's stored refcount.  False when it is unknown. */
bool refblocks_stored(const struct check *c, uint64_t cluster_idx,
		      enum stored *stored);

/* The exact stored refcount, read again from the file.  False when it is
 * unknown. */
bool refblocks_exact(struct check *c, uint64_t cluster_idx, uint64_t *value);

#endif
