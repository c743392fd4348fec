#include "model/history.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/stamps.h"

static bool covers(const struct event *e, uint32_t sector)
{
	return sector >= e->off && sector - e->off < e->len;
}

static bool left_it(const struct event *e, uint32_t value)
{
	return e->zeroes ? value == STAMP_ZERO : value == e->number;
}

/* Some request certainly overwrote the sector after @from and before @to. */
static bool was_replaced(const struct history *h, uint32_t sector,
			 uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < h->n; i++) {
		const struct event *e = &h->events[i];

		if (covers(e, sector) && e->begin > from && e->end < to)
			return true;
	}
	return false;
}

bool history_allows(const struct history *h, uint32_t sector, uint32_t value,
		    uint64_t begin, uint64_t end)
{
	if (value == h->before[sector] && !was_replaced(h, sector, 0, begin))
		return true;
	for (unsigned i = 0; i < h->n; i++) {
		const struct event *e = &h->events[i];

		if (covers(e, sector) && left_it(e, value) && e->begin < end &&
		    !was_replaced(h, sector, e->end, begin))
			return true;
	}
	return false;
}

/* ---- Order --------------------------------------------------------------- */

/* A request, or a piece of one that consists of several, is a node. */
struct order {
	const struct history *h;
	unsigned n;
	unsigned first[HISTORY_EVENTS]; /* node of an event's first piece */
	unsigned *event;                /* of each node */
	bool *edges;                    /* n times n: row comes before column */
};

static unsigned pieces(const struct event *e)
{
	if (!e->piece)
		return 1;
	return (e->off + e->len - 1) / e->piece - e->off / e->piece + 1;
}

static unsigned node_at(const struct order *o, unsigned event, uint32_t sector)
{
	const struct event *e = &o->h->events[event];

	if (!e->piece)
		return o->first[event];
	return o->first[event] + sector / e->piece - e->off / e->piece;
}

static void order_init(struct order *o, const struct history *h)
{
	memset(o, 0, sizeof(*o));
	o->h = h;
	for (unsigned i = 0; i < h->n; i++) {
		o->first[i] = o->n;
		o->n += pieces(&h->events[i]);
	}
	o->event = calloc(o->n + 1, sizeof(*o->event));
	o->edges = calloc((size_t)o->n * o->n + 1, sizeof(*o->edges));
	assert(o->event && o->edges);
	for (unsigned i = 0; i < h->n; i++)
		for (unsigned k = 0; k < pieces(&h->events[i]); k++)
			o->event[o->first[i] + k] = i;
}

static void add_times(struct order *o)
{
	for (unsigned a = 0; a < o->n; a++)
		for (unsigned b = 0; b < o->n; b++)
			if (o->h->events[o->event[a]].end <
			    o->h->events[o->event[b]].begin)
				o->edges[a * o->n + b] = true;
}

/* The last writer of the value that the sector has now comes after all others.
 * If there are several candidates, nothing follows. */
static void add_sector(struct order *o, uint32_t sector, uint32_t value)
{
	const struct history *h = o->h;
	unsigned last = h->n;
	unsigned n = 0;

	for (unsigned i = 0; i < h->n; i++) {
		if (!covers(&h->events[i], sector) ||
		    !left_it(&h->events[i], value))
			continue;
		last = i;
		n++;
	}
	if (n != 1)
		return;
	for (unsigned i = 0; i < h->n; i++)
		if (i != last && covers(&h->events[i], sector))
			o->edges[node_at(o, i, sector) * o->n +
				 node_at(o, last, sector)] = true;
}

static bool comes_first(const struct order *o, const bool *gone, unsigned node)
{
	for (unsigned i = 0; i < o->n; i++)
		if (!gone[i] && o->edges[i * o->n + node])
			return false;
	return true;
}

/* Takes away each request that has none before it, until nothing changes. */
static bool has_no_circle(const struct order *o)
{
	bool *gone = calloc(o->n + 1, sizeof(*gone));
	unsigned left = o->n;
	bool progress = true;

	assert(gone);
	while (progress) {
		progress = false;
		for (unsigned i = 0; i < o->n; i++) {
			if (gone[i] || !comes_first(o, gone, i))
				continue;
			gone[i] = progress = true;
			left--;
		}
	}
	free(gone);
	return left == 0;
}

bool history_explains(const struct history *h, const uint32_t *after,
		      uint32_t *sector)
{
	struct order o;
	bool ok;

	for (*sector = 0; *sector < h->n_sectors; ++*sector)
		if (!history_allows(h, *sector, after[*sector], UINT64_MAX,
				    UINT64_MAX))
			return false;
	order_init(&o, h);
	add_times(&o);
	for (uint32_t i = 0; i < h->n_sectors; i++)
		add_sector(&o, i, after[i]);
	ok = has_no_circle(&o);
	free(o.event);
	free(o.edges);
	return ok;
}
