/*
 * Zero detection, sixteen words at a time.  The words are loaded as vectors,
 * which every processor has at this size and compilers do not make of a loop.
 * The first and last words are looked at first, because most data that is not
 * zero shows it there.
 */
#include "base/zero.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK_WORDS = 16, BLOCK_BYTES = BLOCK_WORDS * 8 };

static uint64_t zero_load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static bool is_zero_short(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return any == 0;
}

typedef uint64_t vector __attribute__((vector_size(16)));

static uint64_t fold_block(const uint8_t *p)
{
	vector v[BLOCK_BYTES / sizeof(vector)];
	vector any;

	memcpy(v, p, sizeof(v));
	any = ((v[0] | v[1]) | (v[2] | v[3])) | ((v[4] | v[5]) | (v[6] | v[7]));
	return any[0] | any[1];
}

bool is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;
	const uint8_t *end = p + len;

	if (len < BLOCK_BYTES)
		return is_zero_short(p, len);
	if (zero_load(p) | zero_load(end - 8))
		return false;
	for (; (size_t)(end - p) >= BLOCK_BYTES; p += BLOCK_BYTES)
		if (fold_block(p))
			return false;
	return fold_block(end - BLOCK_BYTES) == 0;
}

size_t zero_prefix(const void *buf, size_t len)
{
	const uint8_t *p = buf;
	const uint8_t *end = p + len;

	while ((size_t)(end - p) >= BLOCK_BYTES && !zero_load(p) &&
	       !fold_block(p))
		p += BLOCK_BYTES;
	while (p < end && !zero_load(p))
		p += 8;
	return (size_t)(p - (const uint8_t *)buf);
}
