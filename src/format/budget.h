/*
 * The memory that the metadata of one image may take, as the caller's budget
 * says: for opening an image, and for checking it.
 */
#ifndef FORMAT_BUDGET_H
#define FORMAT_BUDGET_H

#include <stdint.h>

#include <qcow2.h>

#include "base/checked.h"
#include "format/limits.h"

/* metadata_bytes, and no more than an equal share of total_bytes.  Never 0,
 * which would stand for the default. */
static inline uint64_t budget_metadata_bytes(const struct qcow2_budget *b)
{
	uint32_t depth = b->chain_depth ? b->chain_depth : CHAIN_DEPTH_DEFAULT;
	uint64_t limit = b->metadata_bytes ? b->metadata_bytes
					   : METADATA_BYTES_DEFAULT;

	if (b->total_bytes)
		limit = min_u64(limit, b->total_bytes / depth);
	return max_u64(limit, 1);
}

#endif
