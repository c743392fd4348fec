/*
 * Half-open byte ranges [off, off + len).
 *
 * A range is well formed when off + len does not exceed 2^63 - 1; the
 * constructors of ranges from disk numbers check that with range_is_sane().
 */
#ifndef BASE_RANGE_H
#define BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct range {
	uint64_t off;
	uint64_t len;
};

static inline bool range_is_sane(uint64_t off, uint64_t len)
{
	return off <= INT64_MAX && len <= (uint64_t)INT64_MAX - off;
}

static inline uint64_t range_end(struct range r)
{
	return r.off + r.len;
}

static inline bool range_overlaps(struct range a, struct range b)
{
	return a.len && b.len && a.off < range_end(b) && b.off < range_end(a);
}

static inline bool range_contains(struct range outer, struct range inner)
{
	return inner.off >= outer.off && range_end(inner) <= range_end(outer);
}

#endif
