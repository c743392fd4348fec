/*
 * Radix sort, lowest digit first, between the array and a copy of it.  Digits
 * in which no two items differ are left out.  Few items are left to qsort(),
 * and so are those that there is no memory for.
 */
#include "base/sort.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	DIGIT_BITS = 11,
	N_DIGITS = 1 << DIGIT_BITS,
	FEW = 256,
};

static uint64_t number_of(const uint8_t *item)
{
	uint64_t number;

	memcpy(&number, item, sizeof(number));
	return number;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = number_of(a);
	uint64_t y = number_of(b);

	return (x > y) - (x < y);
}

/* Bits that are not the same in all items; *sorted: nothing has to be done. */
static uint64_t differences(const uint8_t *items, size_t n, size_t item_bytes,
			    int *sorted)
{
	uint64_t first = number_of(items);
	uint64_t last = first;
	uint64_t bits = 0;

	*sorted = 1;
	for (size_t i = 1; i < n; i++) {
		uint64_t number = number_of(items + i * item_bytes);

		bits |= number ^ first;
		*sorted &= number >= last;
		last = number;
	}
	return bits;
}

static void copy_item(uint8_t *dst, const uint8_t *src, size_t item_bytes)
{
	size_t i;

	for (i = 0; i + sizeof(uint64_t) <= item_bytes; i += sizeof(uint64_t))
		memcpy(dst + i, src + i, sizeof(uint64_t));
	if (i < item_bytes)
		memcpy(dst + i, src + i, sizeof(uint32_t));
}

/* Moves all items from @src to @dst, in the order of one digit. */
static void one_digit(const uint8_t *src, uint8_t *dst, size_t n,
		      size_t item_bytes, unsigned shift)
{
	size_t starts[N_DIGITS] = { 0 };
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		starts[number_of(src + i * item_bytes) >> shift &
		       (N_DIGITS - 1)]++;
	for (size_t d = 0; d < N_DIGITS; d++) {
		size_t count = starts[d];

		starts[d] = sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++) {
		const uint8_t *item = src + i * item_bytes;
		size_t to = starts[number_of(item) >> shift & (N_DIGITS - 1)]++;

		copy_item(dst + to * item_bytes, item, item_bytes);
	}
}

static void sort_by_digits(uint8_t *items, uint8_t *copy, size_t n,
			   size_t item_bytes, uint64_t bits)
{
	uint8_t *src = items;
	uint8_t *dst = copy;

	for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
		uint8_t *old = src;

		if (!(bits >> shift & (N_DIGITS - 1)))
			continue;
		one_digit(src, dst, n, item_bytes, shift);
		src = dst;
		dst = old;
	}
	if (src != items)
		memcpy(items, src, n * item_bytes);
}

void sort_by_number(void *items, size_t n, size_t item_bytes)
{
	uint8_t *copy = NULL;
	uint64_t bits;
	int sorted;

	assert(item_bytes >= sizeof(uint64_t) &&
	       item_bytes % sizeof(uint32_t) == 0);
	if (n < 2)
		return;
	bits = differences(items, n, item_bytes, &sorted);
	if (sorted)
		return;
	if (n >= FEW)
		copy = malloc(n * item_bytes);
	if (copy)
		sort_by_digits(items, copy, n, item_bytes, bits);
	else
		qsort(items, n, item_bytes, by_number);
	free(copy);
}
