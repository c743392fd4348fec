/*
 * Arithmetic on numbers that came from a disk.
 *
 * Every function returns false, and leaves *out untouched, where the exact
 * result does not fit.  Limits first, then these: a number that passed its
 * limit can still overflow together with another one.
 */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t product;

	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

/* Rounds up to a multiple of @align, a power of two. */
static inline bool checked_align_up(uint64_t v, uint64_t align, uint64_t *out)
{
	uint64_t sum;

	if (!checked_add(v, align - 1, &sum))
		return false;
	*out = sum & ~(align - 1);
	return true;
}

static inline bool is_aligned(uint64_t v, uint64_t align)
{
	return (v & (align - 1)) == 0;
}

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* For values known to be far from the top, such as offsets below 2^63. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t div_round_up(uint64_t v, uint64_t unit)
{
	return v / unit + (v % unit != 0);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
