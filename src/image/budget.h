/*
 * The memory that the metadata of one image may take: the tables that are read
 * when it is opened, and the caches, which get a part of the rest.
 */
#ifndef IMAGE_BUDGET_H
#define IMAGE_BUDGET_H

#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"

struct metadata_budget {
	uint64_t limit;
	uint64_t taken;
};

/* It has one owner at a time, while an image is opened. */
VALIDATOR(metadata_budget);

/* The limit of one image: metadata_bytes, and no more than its equal share of
 * total_bytes. */
struct metadata_budget metadata_budget_of(const struct qcow2_budget *b);

/* -E2BIG when @bytes more for @what would exceed the limit. */
int metadata_budget_take(struct metadata_budget *b, uint64_t bytes,
			 const char *what, struct qcow2_error *err);

static inline uint64_t metadata_budget_left(const struct metadata_budget *b)
{
	return b->limit - b->taken;
}

/* The cache of L2 tables gets half of what the tables leave, and that of
 * refcounts a quarter; the caches' own indexes take the rest. */
static inline uint64_t metadata_budget_l2(const struct metadata_budget *b)
{
	return metadata_budget_left(b) / 2;
}

static inline uint64_t
metadata_budget_refcounts(const struct metadata_budget *b)
{
	return metadata_budget_left(b) / 4;
}

#endif
