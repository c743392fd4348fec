/*
 * The requests of several threads to a disk, and the question whether some
 * order explains everything that was read.
 *
 * Every request takes a number from a clock when it begins and when it ends.  A
 * request that ended before another began comes before it, and so does a
 * request whose sectors another has overwritten.  These rules must not form a
 * circle.
 */
#ifndef MODEL_HISTORY_H
#define MODEL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event {
	uint32_t number; /* of the request, unique for ever */
	bool zeroes;     /* leaves zeros, no stamps */
	uint32_t piece;  /* sectors that are one unit; 0: all */
	uint32_t off;    /* sectors */
	uint32_t len;
	uint64_t begin;
	uint64_t end;
};

enum { HISTORY_EVENTS = 64, HISTORY_SECTORS = 1024 };

struct history {
	uint32_t n_sectors;
	uint32_t before[HISTORY_SECTORS]; /* values as of stamp_read() */
	unsigned n;
	struct event events[HISTORY_EVENTS];
};

/* Returns whether the history explains a disk that reads as @after now; if not,
 * sets *sector. */
bool history_explains(const struct history *h, const uint32_t *after,
		      uint32_t *sector);

/* Returns whether a read between @begin and @end could have seen @value. */
bool history_allows(const struct history *h, uint32_t sector, uint32_t value,
		    uint64_t begin, uint64_t end);

#endif
