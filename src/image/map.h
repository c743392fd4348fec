/*
 * From guest offset to L2 entry: the L1 table in memory, L2 slices in a cache.
 */
#ifndef IMAGE_MAP_H
#define IMAGE_MAP_H

#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "cache/cache.h"
#include "commit/commit.h"
#include "format/geometry.h"
#include "format/l2.h"
#include "image/repeats.h"
#include "image/sizes.h"

struct map {
	const struct geometry *geo; /* borrowed, like the sizes */
	const struct image_sizes *sizes;
	struct l1_table l1;
	struct cache l2;
	/* The result of map_allow_walk(); NULL: nobody asked yet. */
	const struct repeats *_Atomic repeats;
};

/* A longer L1 table may take its place meanwhile. */
VALIDATOR(map);

/* The files to map, and the place of the L1 table: the active one or a
 * snapshot's. */
struct map_source {
	const struct geometry *geo;
	const struct image_sizes *sizes;
	uint64_t l1_off;
	uint64_t l1_size;
};

/* The geometry and the sizes stay where they are as long as the map does. */
int map_open(struct map *m, struct qcow2_store *file,
	     const struct map_source *source,
	     const struct qcow2_open_opts *opts, struct qcow2_error *err);
void map_release(struct map *m);

/*
 * Before a walk over the whole disk: -E2BIG when entries of the L1 table share
 * L2 tables, and going through those again takes too long.  The answer is kept;
 * from then on tables that say the same of all their clusters are one window,
 * unless @src->changing.  Thread-safe, in a grace period.
 */
int map_allow_walk(struct map *m, const struct repeats_source *src,
		   struct qcow2_error *err);

/* After the L1 table was exchanged, or many of its entries changed. */
void map_forget_walk(struct map *m);

/* Entries of one L2 table that lie together in a pinned slice. */
struct map_window {
	struct slice *slice;       /* NULL: all clusters are of one kind that
				 * points nowhere */
	enum subcluster_kind kind; /* without slice; if writable always
				 * UNALLOCATED_PLAIN: there is no L2 table */
	uint64_t first;            /* index in the slice of the asked entry */
	uint64_t n_entries; /* from there to the end of the slice; without
				 * slice: clusters that are of this kind */
	uint64_t host_off;  /* of the asked entry, for messages */
};

/*
 * Finds the window for the cluster at @guest_off.  Without an L2 table the
 * window reaches over all following empty L1 entries, but not further than
 * @guest_end.  -EIO with a defect for a bad L1 entry.  flags:
 * QCOW2_STORE_NOWAIT.  The caller must be in a grace period, or keep writers
 * from exchanging the L1 table.
 */
int map_window_get(struct map *m, uint64_t guest_end, uint64_t guest_off,
		   unsigned flags, struct map_window *w,
		   struct qcow2_error *err);
void map_window_put(struct map *m, struct map_window *w);

/* Entry @i of the window's slice; writers may be at work on it. */
struct l2_entry map_window_entry(const struct map_window *w,
				 const struct geometry *g, uint64_t i);

/* How many entries from @i on are zero: in large sparse disks that is what
 * most of a walk sees. */
uint64_t map_window_empty(const struct map_window *w, const struct geometry *g,
			  uint64_t i);

/* The caller must be in a grace period, or keep writers from exchanging the
 * table. */
static inline uint64_t map_l1_entry(const struct map *m, uint64_t index)
{
	_Atomic uint64_t *entries;

	if (index >=
	    atomic_load_explicit(&m->l1.n_entries, memory_order_acquire))
		return 0;
	entries = atomic_load_explicit(&m->l1.entries, memory_order_acquire);
	return atomic_load_explicit(&entries[index], memory_order_acquire);
}

#endif
