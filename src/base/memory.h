/*
 * Sizes of memory that were computed with 64 bits, on machines whose addresses
 * may have fewer.
 *
 * Everything that is counted in an image has 64 bits.  An allocation may then
 * be larger than an address can say: the functions here report no memory for
 * it, instead of asking malloc() for a part.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline bool fits_size(uint64_t n)
{
	return (size_t)n == n;
}

/* Of memory that there is, or of something with a limit far below. */
static inline size_t to_size(uint64_t n)
{
	assert(fits_size(n));
	return (size_t)n;
}

/* As malloc(), calloc(), realloc() and aligned_alloc(). */
static inline void *alloc_bytes(uint64_t n_bytes)
{
	return fits_size(n_bytes) ? malloc((size_t)n_bytes) : NULL;
}

static inline void *alloc_zeroed(uint64_t n, uint64_t item_bytes)
{
	uint64_t n_bytes;

	if (__builtin_mul_overflow(n, item_bytes, &n_bytes))
		return NULL;
	return fits_size(n_bytes) ? calloc(1, (size_t)n_bytes) : NULL;
}

static inline void *alloc_resized(void *old, uint64_t n_bytes)
{
	return fits_size(n_bytes) ? realloc(old, (size_t)n_bytes) : NULL;
}

static inline void *alloc_aligned(size_t align, uint64_t n_bytes)
{
	return fits_size(n_bytes) ? aligned_alloc(align, (size_t)n_bytes)
				  : NULL;
}

#endif
