/*
 * A plain growable-by-nobody bit set: @n_bits fixed at init, one bit each.
 */
#ifndef BASE_BITSET_H
#define BASE_BITSET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/validate.h"

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

static inline void bitset_validate(const struct bitset *b)
{
	/* Released, or with a word for every bit; bits behind them are 0. */
	assert(implies(!b->words, !b->n_bits));
	assert(implies(b->words,
		       b->words[b->n_bits / 64] >> (b->n_bits % 64) == 0));
}

static inline bool bitset_is_empty(const struct bitset *b)
{
	bitset_validate(b);
	for (uint64_t i = 0; b->words && i <= b->n_bits / 64; i++)
		if (b->words[i])
			return false;
	return true;
}

static inline uint64_t bitset_count(const struct bitset *b)
{
	uint64_t n = 0;

	for (uint64_t i = 0; b->words && i <= b->n_bits / 64; i++)
		n += (unsigned)__builtin_popcountll(b->words[i]);
	return n;
}

static inline bool bitset_test(const struct bitset *b, uint64_t i)
{
	assert(i < b->n_bits);
	return b->words[i / 64] >> (i % 64) & 1;
}

static inline void bitset_set(struct bitset *b, uint64_t i)
{
	assert(i < b->n_bits);
	b->words[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void bitset_clear(struct bitset *b, uint64_t i)
{
	assert(i < b->n_bits);
	b->words[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

#endif
