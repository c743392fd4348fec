#include "counts/inherited.h"

#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/view.h"

void refcounts_doubt(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	r->inherited.end = r->high_water >> r->geo->cluster_bits;
	r->inherited.doubted = true;
	r->next_free = r->inherited.end;
}

void refcounts_believe(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	r->inherited.doubted = false;
	r->next_free = 0;
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

/* ---- Raising ------------------------------------------------------------- */

static int raise_slice(struct refcounts *r, struct view *v, uint64_t i,
		       uint64_t end, uint64_t count, uint64_t *n_raised,
		       struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
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
		    uint64_t count, uint64_t *n_raised, struct qcow2_error *err)
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
