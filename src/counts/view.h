/*
 * Refcounts as they lie in the cache, for the files of refcounts only.
 */
#ifndef COUNTS_VIEW_H
#define COUNTS_VIEW_H

#include <assert.h>

#include "counts/refcounts.h"
#include "format/refcount.h"

/* Clusters of one slice of refcounts, pinned. */
struct view {
	struct slice *slice;
	uint64_t first; /* cluster index of refcount 0 in the slice */
	uint64_t end;   /* first cluster index behind it */
};

static inline uint64_t refcounts_per_slice(const struct refcounts *r)
{
	return ((uint64_t)r->blocks.slice_bytes * 8) >> r->geo->refcount_order;
}

/* Pins the slice for @cluster_idx; 1 when there is no block for it. */
int refcounts_view(struct refcounts *r, uint64_t cluster_idx, struct view *v,
		   struct qcow2_error *err);

static inline void view_close(struct refcounts *r, struct view *v)
{
	cache_put(&r->blocks, v->slice);
}

/* The table has another entry @index in memory than it may have on the disk.
 * With r->lock held. */
void refcounts_table_changed(struct refcounts *r, uint64_t index);

/* No cluster before it is free.  Cluster 0 is the header, whatever its refcount
 * says. */
uint64_t refcounts_first_candidate(struct refcounts *r);

/* These two with r->lock held. */
static inline uint64_t view_get(const struct refcounts *r, const struct view *v,
				uint64_t cluster_idx)
{
	assert(cluster_idx >= v->first && cluster_idx < v->end);
	return refcount_get(v->slice->data, cluster_idx - v->first,
			    r->geo->refcount_order);
}

/* Clusters before @end are in use.  With r->lock held. */
static inline void refcounts_note_used(struct refcounts *r, uint64_t end)
{
	uint64_t host_end = end << r->geo->cluster_bits;

	if (host_end > r->used_end.host_off)
		r->used_end.host_off = host_end;
}

/* The caller marks the slice dirty. */
static inline void view_put(struct refcounts *r, struct view *v,
			    uint64_t cluster_idx, uint64_t value)
{
	bool was_free = view_get(r, v, cluster_idx) == 0;

	assert(cluster_idx >= v->first && cluster_idx < v->end);
	assert(value <= r->geo->refcount_max);
	r->totals.allocated += was_free && value;
	r->totals.freed += !was_free && !value;
	if (was_free && value)
		refcounts_note_used(r, cluster_idx + 1);
	refcount_put(v->slice->data, cluster_idx - v->first,
		     r->geo->refcount_order, value);
}

#endif
