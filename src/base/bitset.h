/*
 * A plain growable-by-nobody bit set: @n_bits fixed at init, one bit each.
 */
#ifndef BASE_BITSET_H
#define BASE_BITSET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"

struct bitset {
	uint64_t *words;
	uint64_t n_bits;
};

/* False when memory is short. */
static inline bool bitset_init(struct bitset *b, uint64_t n_bits)
{
	b->n_bits = n_bits;
	b->words = alloc_zeroed(n_bits / 64 + 1, sizeof(*b->words));
	return b->words != NULL;
}

static inline void bitset_release(struct bitset *b)
{
	free(b->words);
	b->words = NULL;
	b->n_bits = 0;
}

static inline bool bitset_test(const struct bitset *b, uint64_t i)
{
	return b->words[i / 64] >> (i % 64) & 1;
}

static inline void bitset_set(struct bitset *b, uint64_t i)
{
	b->words[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void bitset_clear(struct bitset *b, uint64_t i)
{
	b->words[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

#endif
