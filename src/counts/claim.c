/*
 * Clusters that become somebody's: the first free ones, or certain ones.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/file.h"
#include "counts/grow.h"
#include "counts/inherited.h"
#include "counts/used.h"
#include "counts/view.h"

static bool is_free(const struct refcounts *r, const struct view *v,
		    uint64_t cluster_idx)
{
	return cluster_idx != r->held && refcounts_may_reuse(r, cluster_idx) &&
	       view_get(r, v, cluster_idx) == 0;
}

void refcounts_hold(struct refcounts *r, uint64_t cluster_idx)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	/* The cluster held before may have become free meanwhile. */
	if (r->held)
		r->next_free = min_u64(r->next_free, r->held);
	r->held = cluster_idx;
}

uint64_t refcounts_held(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->held;
}

/* Takes the first run of free clusters in the slice from @from on. */
static uint64_t take_run(struct refcounts *r, struct view *v, uint64_t want,
			 uint64_t from, uint64_t *first)
{
	uint64_t n = 0;

	*first = from;
	while (*first < v->end && !is_free(r, v, *first))
		++*first;
	while (n < want && *first + n < v->end && is_free(r, v, *first + n))
		view_put(r, v, *first + n++, 1);
	if (n)
		dirty_mark(&r->dirty, v->slice);
	return n;
}

static int claim_in_slice(struct refcounts *r, struct view *v, uint64_t want,
			  uint64_t from, struct claim *out,
			  struct qcow2_error *err)
{
	uint64_t first, end;
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	out->n_clusters = take_run(r, v, want, from, &first);
	if (out->n_clusters == 0)
		return 0;
	out->host_off = first << r->geo->cluster_bits;
	out->reads_zero = out->host_off >= r->high_water;
	end = out->host_off + (out->n_clusters << r->geo->cluster_bits);
	r->high_water =
		max_u64(r->high_water, align_up(end, r->geo->cluster_size));
	r->next_free = first + out->n_clusters;
	return 0;
}

void refcounts_unclaim(struct refcounts *r, const struct claim *c)
{
	VALIDATE(claim, c);
	refcounts_decrement(r, c->n_clusters,
			    c->host_off >> r->geo->cluster_bits, NULL);
}

static void raise_high_water(struct refcounts *r, uint64_t end)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	r->high_water = max_u64(r->high_water, end);
}

void refcounts_skip(struct refcounts *r, uint64_t end)
{
	SCOPED_LOCK(&r->grow_lock);

	r->file_size = max_u64(r->file_size, end);
	raise_high_water(r, align_up(end, r->geo->cluster_size));
}

/* The size is durable with the refcounts of the claim: no pointer to it can
 * survive a crash that the size does not. */
static int extend_file(struct refcounts *r, uint64_t end,
		       struct qcow2_error *err)
{
	SCOPED_LOCK(&r->grow_lock);

	return refcounts_extend_to(r, end, err);
}

static int limit_reached(const struct refcounts *r, struct qcow2_error *err)
{
	return error_set(err, -EFBIG,
			 "the image file has reached the %" PRIu64
			 " bytes that the format can address",
			 align_down(HOST_OFF_MAX, r->geo->cluster_size));
}

/*
 * Handles a region without refcount block: past the end of the file it gets
 * one; below, its contents are unknown, so nothing is claimed there.
 */
static int claim_without_block(struct refcounts *r, uint64_t *from,
			       struct qcow2_error *err)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t end = ((*from >> bits) + 1) << bits;
	uint64_t used, next;

	mutex_lock(&r->lock);
	used = r->high_water >> r->geo->cluster_bits;
	mutex_unlock(&r->lock);
	if (used < end) {
		int rc = refcounts_add_block(r, *from, err);

		if (rc <= 0)
			return rc;
	}
	/* Nothing else lies before the next block and the end of the file. */
	next = min_u64(refcounts_next_described(r, end), used >> bits << bits);
	*from = max_u64(end, next);
	return 0;
}

uint64_t refcounts_first_candidate(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return max_u64(r->next_free, 1);
}

int refcounts_claim(struct refcounts *r, uint64_t want, struct claim *out,
		    struct qcow2_error *err)
{
	uint64_t limit = HOST_OFF_MAX >> r->geo->cluster_bits;
	uint64_t from = refcounts_first_candidate(r);
	int rc;

	assert(want);
	*out = (struct claim){ 0 };
	while (out->n_clusters == 0) {
		struct view v;

		if (from >= limit)
			return limit_reached(r, err);
		rc = refcounts_view(r, from, &v, err);
		if (rc == 1)
			rc = claim_without_block(r, &from, err);
		else if (rc == 0) {
			rc = claim_in_slice(r, &v, want, from, out, err);
			from = v.end;
			view_close(r, &v);
		}
		if (rc < 0)
			return rc;
	}
	rc = extend_file(
		r, out->host_off + (out->n_clusters << r->geo->cluster_bits),
		err);
	if (rc < 0)
		refcounts_unclaim(r, out);
	VALIDATE(claim, out);
	return rc;
}

/* Takes clusters [*i, end) as far as the slice reaches; 1 for one in use. */
static int take_slice(struct refcounts *r, struct view *v, uint64_t *i,
		      uint64_t end, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	dirty_mark(&r->dirty, v->slice);
	for (; *i < end && *i < v->end; ++*i) {
		if (!is_free(r, v, *i))
			return 1;
		view_put(r, v, *i, 1);
		dirty_mark(&r->dirty, v->slice);
	}
	return 0;
}

int refcounts_take(struct refcounts *r, uint64_t n, uint64_t first,
		   struct qcow2_error *err)
{
	uint64_t i = first;
	int rc = 0;

	while (rc == 0 && i < first + n) {
		struct view v;

		rc = refcounts_view(r, i, &v, err);
		if (rc != 0)
			break;
		rc = take_slice(r, &v, &i, first + n, err);
		view_close(r, &v);
	}
	if (rc != 0 && i > first)
		refcounts_decrement(r, i - first, first, NULL);
	return rc;
}
