#include "meta/refcounts_inherited.h"

#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "meta/refcounts_view.h"

#define NO_GAP UINT64_MAX

void refcounts_doubt(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	r->inherited.end = r->high_water >> r->geo->cluster_bits;
	r->inherited.gap = 0;
	r->inherited.doubted = true;
	r->next_free = r->inherited.end;
}

void refcounts_believe(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	r->inherited.doubted = false;
	r->next_free = min_u64(r->next_free, r->inherited.gap);
}

bool refcounts_may_reuse(const struct refcounts *r, uint64_t cluster_idx)
{
	return !r->inherited.doubted || cluster_idx >= r->inherited.end;
}

uint64_t refcounts_cut_limit(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->inherited.freed && !r->inherited.doubted ? 1
							   : r->inherited.end;
}

void refcounts_allow_cut(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	r->inherited.freed = true;
}

/* ---- Gaps ------------------------------------------------------------------- */

/* The first free cluster of the slice that is inherited; v->end or later when
 * there is none. */
static uint64_t gap_in_slice(struct refcounts *r, const struct view *v,
			     uint64_t from)
{
	uint64_t end = min_u64(v->end, r->inherited.end);
	SCOPED_LOCK(&r->lock);

	while (from < end && view_get(r, v, from))
		from++;
	return from < end ? from : NO_GAP;
}

/* Where no block says anything, nothing counts what lies there. */
static int look_for_gap(struct refcounts *r, uint64_t *gap,
			struct qcow2_error *err)
{
	uint64_t at = 1;

	*gap = NO_GAP;
	while (at < r->inherited.end && *gap == NO_GAP) {
		struct view v;
		int rc = refcounts_view(r, at, &v, err);

		if (rc < 0)
			return rc;
		if (rc == 1)
			*gap = at;
		if (rc == 1)
			break;
		*gap = gap_in_slice(r, &v, at);
		at = v.end;
		view_close(r, &v);
	}
	return 0;
}

int refcounts_find_gap(struct refcounts *r, bool *found,
		       struct qcow2_error *err)
{
	uint64_t gap = r->inherited.gap;
	int rc = 0;

	if (gap == 0) {
		rc = look_for_gap(r, &gap, err);
		mutex_lock(&r->lock);
		if (rc == 0 && r->inherited.gap == 0)
			r->inherited.gap = gap;
		gap = r->inherited.gap;
		mutex_unlock(&r->lock);
	}
	*found = rc == 0 && gap != NO_GAP;
	return rc;
}

/* ---- Raising ---------------------------------------------------------------- */

static int raise_slice(struct refcounts *r, struct view *v, uint64_t i,
		       uint64_t end, uint64_t count, uint64_t *n_raised,
		       struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	bool changed = false;
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	for (; i < end; i++) {
		if (view_get(r, v, i) >= count)
			continue;
		view_put(r, v, i, count);
		++*n_raised;
		changed = true;
	}
	if (changed)
		dirty_mark(&r->dirty, v->slice);
	return 0;
}

int refcounts_raise(struct refcounts *r, uint64_t n, uint64_t first,
		    uint64_t count, uint64_t *n_raised,
		    struct qcow2_error *err)
{
	uint64_t end = first + n;

	if (count > r->geo->refcount_max)
		return error_set(err, -ERANGE,
				 "a cluster has %" PRIu64 " references, and "
				 "refcounts of this image end at %" PRIu64,
				 count, r->geo->refcount_max);
	while (first < end) {
		struct view v;
		int rc = refcounts_view(r, first, &v, err);

		if (rc != 0)
			return rc;
		rc = raise_slice(r, &v, first, min_u64(end, v.end), count,
				 n_raised, err);
		first = v.end;
		view_close(r, &v);
		if (rc < 0)
			return rc;
	}
	return 0;
}
