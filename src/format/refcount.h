/*
 * Refcounts (specification: "Host cluster management").
 */
#ifndef FORMAT_REFCOUNT_H
#define FORMAT_REFCOUNT_H

#include <stdint.h>

#include "format/defect.h"
#include "format/geometry.h"

#define REFCOUNT_TABLE_OFFSET_MASK UINT64_C(0xfffffffffffffe00)

/* Refcount @index of a block in its on-disk form; @order 0 to 6.  Entries
 * narrower than a byte fill it from the least significant bit. */
uint64_t refcount_get(const uint8_t *block, uint64_t index, unsigned order);

/* @value must be <= the maximum of @order. */
void refcount_put(uint8_t *block, uint64_t index, unsigned order,
		  uint64_t value);

/* The rule a refcount table entry breaks, or DEFECT_NONE (0 is fine). */
enum defect refcount_table_entry_defect(const struct geometry *g,
					uint64_t entry, uint64_t file_size);

/*
 * Decodes a refcount table entry: *block_off is the offset of the block, 0 when
 * there is none.  Only the entry 0 means none: one that has an offset of 0 and
 * reserved bits is damaged, not empty, and a block made for it would never be
 * found.  Returns the rule that the entry breaks; *block_off is 0 then.
 */
enum defect refcount_table_entry_decode(const struct geometry *g,
					uint64_t entry, uint64_t file_size,
					uint64_t *block_off);

/* The offset of the block; the entry must break no rule. */
static inline uint64_t refcount_block_off(uint64_t entry)
{
	return entry & REFCOUNT_TABLE_OFFSET_MASK;
}

#endif
