/*
 * An ordered, sparse map from page number to page: the body of a memory store.
 *
 * A radix tree of 64-way nodes that is only as high as the largest page number
 * needs.  Each node knows which of its children exist, so that the next
 * existing page is found without visiting holes, and a node without children
 * is freed.  Not thread-safe: the owner locks.
 */
#ifndef STORE_PAGES_H
#define STORE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/validate.h"

#define PAGE_SHIFT 12
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT)

/* Page numbers are below this: offsets stay below 2^63. */
#define PAGE_NUMBERS (UINT64_C(1) << (63 - PAGE_SHIFT))

struct pages_node;

struct pages {
	struct pages_node *root; /* NULL when empty */
	unsigned height;         /* levels of nodes below and with the root */
	uint64_t n_pages;
};

VALIDATOR(pages);

/* The page, or NULL for a hole. */
uint8_t *pages_get(const struct pages *p, uint64_t number);

/* The page, made of zeros if there was none; NULL when memory is short. */
uint8_t *pages_make(struct pages *p, uint64_t number);

/* The first page at or after @number: its number in *found, or false. */
bool pages_next(const struct pages *p, uint64_t number, uint64_t *found);

/* Frees the pages first..last, both included. */
void pages_drop(struct pages *p, uint64_t first, uint64_t last);

/* Fills the empty @dst with copies; false (and empty) when memory is short. */
bool pages_copy(struct pages *dst, const struct pages *src);

#endif
