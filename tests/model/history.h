/*
 * What several threads did to a disk, and whether some order explains what was
 * read.
 *
 * Every request takes a number from a clock when it begins and when it ends.
 * A request that ended before another began comes before it; so does one whose
 * sectors another has overwritten.  No circle may follow from that.
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

/* Is the disk explained, that reads as @after now?  If not, *sector. */
bool history_explains(const struct history *h, const uint32_t *after,
		      uint32_t *sector);

/* Could a read between @begin and @end have seen @value? */
bool history_allows(const struct history *h, uint32_t sector, uint32_t value,
		    uint64_t begin, uint64_t end);

#endif
