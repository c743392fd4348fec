#include "meta/refcounts.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/mutant.h"
#include "format/refcount.h"
#include "meta/refcounts_grow.h"
#include "store/store.h"

static uint64_t per_slice(const struct refcounts *r)
{
	return ((uint64_t)r->blocks.slice_bytes * 8) >> r->geo->refcount_order;
}

static int read_table(struct refcounts *r, struct qcow2_error *err)
{
	uint64_t bytes = (uint64_t)r->place.clusters << r->geo->cluster_bits;
	uint64_t n = bytes / REFCOUNT_TABLE_ENTRY_BYTES;
	CLEANUP_FREE uint8_t *raw = malloc(bytes);
	int rc;

	r->table = calloc(n, sizeof(*r->table));
	if (!raw || !r->table)
		return error_nomem(err, "the refcount table", 2 * bytes);
	rc = store_pread(r->file, raw, bytes, r->place.off, 0, err);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		r->table[i] = get_be64(raw + 8 * i);
	r->n_table = n;
	return rc;
}

int refcounts_open(struct refcounts *r, const struct geometry *g,
		   const struct header *h, struct qcow2_store *file,
		   uint64_t cache_bytes, struct qcow2_error *err)
{
	uint32_t slice = (uint32_t)min_u64(g->cluster_size,
					   L2_SLICE_BYTES_DEFAULT);
	int rc;

	memset(r, 0, sizeof(*r));
	r->geo = g;
	r->file = file;
	r->place = (struct reftable_place){ h->refcount_table_off,
					    h->refcount_table_clusters };
	pthread_mutex_init(&r->grow_lock, NULL);
	pthread_mutex_init(&r->lock, NULL);
	rc = store_size(file, &r->file_size, err);
	r->high_water = align_up(r->file_size, g->cluster_size);
	if (rc == 0)
		rc = read_table(r, err);
	if (rc == 0)
		rc = cache_init(&r->blocks, file, cache_bytes, slice, err);
	dirty_init(&r->dirty, &r->blocks);
	if (rc < 0)
		refcounts_release(r);
	return rc;
}

void refcounts_release(struct refcounts *r)
{
	if (r->blocks.shards)
		dirty_release(&r->dirty);
	cache_release(&r->blocks);
	free(r->table);
	r->table = NULL;
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->grow_lock);
}

/* ---- One slice ------------------------------------------------------------- */

/* Clusters of one slice of refcounts, pinned. */
struct view {
	struct slice *slice;
	uint64_t first;    /* cluster index of refcount 0 in the slice */
	uint64_t end;      /* first cluster index behind it */
};

/* The table entry for a cluster, and the end of what can lie in the file. */
static uint64_t table_entry(struct refcounts *r, uint64_t cluster_idx,
			    uint64_t *file_end)
{
	uint64_t i = cluster_idx >> r->geo->refcount_block_bits;
	SCOPED_LOCK(&r->lock);

	*file_end = r->high_water;
	return i < r->n_table ? r->table[i] : 0;
}

static int bad_block(uint64_t entry, enum defect defect,
		     struct qcow2_error *err)
{
	return error_defect(err, -EIO, (int)defect,
			    entry & REFCOUNT_TABLE_OFFSET_MASK,
			    "%s (refcount table entry 0x%" PRIx64 ")",
			    defect_info((int)defect)->text, entry);
}

/* Pins the slice for @cluster_idx; 1 when there is no block for it. */
static int view_open(struct refcounts *r, uint64_t cluster_idx, struct view *v,
		     struct qcow2_error *err)
{
	uint64_t file_end;
	uint64_t entry = table_entry(r, cluster_idx, &file_end);
	uint64_t block = entry & REFCOUNT_TABLE_OFFSET_MASK;
	uint64_t n = UINT64_C(1) << r->geo->refcount_block_bits;
	uint64_t in_block = cluster_idx & (n - 1);
	uint64_t slice_idx = in_block / per_slice(r);
	enum defect bad;

	if (block == 0)
		return 1;
	bad = refcount_table_entry_defect(r->geo, entry, file_end);
	if (bad)
		return bad_block(entry, bad, err);
	v->first = cluster_idx - in_block + slice_idx * per_slice(r);
	v->end = v->first + min_u64(per_slice(r), n);
	return cache_get(&r->blocks,
			 block + slice_idx * r->blocks.slice_bytes,
			 block + r->geo->cluster_size, 0, &v->slice, err);
}

static void view_close(struct refcounts *r, struct view *v)
{
	cache_put(&r->blocks, v->slice);
}

static uint64_t view_get(const struct refcounts *r, const struct view *v,
			 uint64_t cluster_idx)
{
	return refcount_get(v->slice->data, cluster_idx - v->first,
			    r->geo->refcount_order);
}

/* The caller marks the slice dirty. */
static void view_put(struct refcounts *r, struct view *v, uint64_t cluster_idx,
		     uint64_t value)
{
	refcount_put(v->slice->data, cluster_idx - v->first,
		     r->geo->refcount_order, value);
}

int refcounts_get(struct refcounts *r, uint64_t cluster_idx, uint64_t *value,
		  struct qcow2_error *err)
{
	struct view v;
	int rc = view_open(r, cluster_idx, &v, err);

	*value = 0;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	mutex_lock(&r->lock);
	*value = view_get(r, &v, cluster_idx);
	mutex_unlock(&r->lock);
	view_close(r, &v);
	return 0;
}

int refcounts_read(struct refcounts *r, uint64_t n, uint64_t first,
		   uint64_t *values, struct qcow2_error *err)
{
	uint64_t i = 0;

	memset(values, 0, n * sizeof(*values));
	while (i < n) {
		struct view v;
		int rc = view_open(r, first + i, &v, err);

		if (rc < 0)
			return rc;
		if (rc == 1) {
			i++;
			continue;
		}
		mutex_lock(&r->lock);
		for (; i < n && first + i < v.end; i++)
			values[i] = view_get(r, &v, first + i);
		mutex_unlock(&r->lock);
		view_close(r, &v);
	}
	return 0;
}

static bool view_has_used(struct refcounts *r, const struct view *v,
			  uint64_t end, uint64_t but)
{
	SCOPED_LOCK(&r->lock);

	for (uint64_t i = v->first; i < v->end && i < end; i++)
		if (i != but && view_get(r, v, i))
			return true;
	return false;
}

int refcounts_find_used(struct refcounts *r, uint64_t first, uint64_t end,
			uint64_t but, bool *used, struct qcow2_error *err)
{
	*used = false;
	while (first < end && !*used) {
		struct view v;
		int rc = view_open(r, first, &v, err);

		if (rc != 0)
			return rc < 0 ? rc : 0;
		*used = view_has_used(r, &v, end, but);
		first = v.end;
		view_close(r, &v);
	}
	return 0;
}

/* ---- Claims ---------------------------------------------------------------- */

static bool is_free(const struct refcounts *r, const struct view *v,
		    uint64_t cluster_idx)
{
	return cluster_idx != r->held && view_get(r, v, cluster_idx) == 0;
}

void refcounts_hold(struct refcounts *r, uint64_t cluster_idx)
{
	SCOPED_LOCK(&r->lock);

	/* What was held may have become free meanwhile. */
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
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	out->n_clusters = take_run(r, v, want, from, &first);
	if (out->n_clusters == 0)
		return 0;
	out->host_off = first << r->geo->cluster_bits;
	out->reads_zero = out->host_off >= r->high_water;
	end = out->host_off + (out->n_clusters << r->geo->cluster_bits);
	r->high_water = max_u64(r->high_water, end);
	r->next_free = first + out->n_clusters;
	return 0;
}

void refcounts_unclaim(struct refcounts *r, const struct claim *c)
{
	refcounts_decrement(r, c->n_clusters,
			    c->host_off >> r->geo->cluster_bits, NULL);
}

/* The size is durable with the refcounts of the claim: no pointer to it can
 * survive a crash that the size does not. */
static int extend_file(struct refcounts *r, uint64_t end,
		       struct qcow2_error *err)
{
	int rc;
	SCOPED_LOCK(&r->grow_lock);

	if (end <= r->file_size || MUTANT(no_extend))
		return 0;
	rc = store_truncate(r->file, end, err);
	if (rc == -ENOTSUP)
		return error_set(err, -ENOSPC,
				 "the image needs %" PRIu64
				 " bytes and cannot grow beyond %" PRIu64,
				 end, r->file_size);
	if (rc == 0)
		r->file_size = end;
	return rc;
}

static int limit_reached(const struct refcounts *r, struct qcow2_error *err)
{
	return error_set(err, -EFBIG,
			 "the image file has reached the %" PRIu64
			 " bytes that the format can address",
			 align_down(HOST_OFF_MAX, r->geo->cluster_size));
}

/*
 * What to do about a region without refcount block: past the end of the file
 * it gets one; below, nobody knows what is in it, so nothing is claimed there.
 */
static int claim_without_block(struct refcounts *r, uint64_t *from,
			       struct qcow2_error *err)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t end = ((*from >> bits) + 1) << bits;
	uint64_t used;

	mutex_lock(&r->lock);
	used = r->high_water >> r->geo->cluster_bits;
	mutex_unlock(&r->lock);
	if (used < end)
		return refcounts_add_block(r, *from, err);
	*from = end;
	return 0;
}

/* Cluster 0 is the header, whatever its refcount says. */
static uint64_t first_candidate(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return max_u64(r->next_free, 1);
}

int refcounts_claim(struct refcounts *r, uint64_t want, struct claim *out,
		    struct qcow2_error *err)
{
	uint64_t limit = HOST_OFF_MAX >> r->geo->cluster_bits;
	uint64_t from = first_candidate(r);
	int rc;

	*out = (struct claim){ 0 };
	while (out->n_clusters == 0) {
		struct view v;

		if (from >= limit)
			return limit_reached(r, err);
		rc = view_open(r, from, &v, err);
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
	rc = extend_file(r, out->host_off +
				    (out->n_clusters << r->geo->cluster_bits),
			 err);
	if (rc < 0)
		refcounts_unclaim(r, out);
	return rc;
}

/* Takes clusters [*i, end) as far as the slice reaches; 1 for one in use. */
static int take_slice(struct refcounts *r, struct view *v, uint64_t *i,
		      uint64_t end, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
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

		rc = view_open(r, i, &v, err);
		if (rc != 0)
			break;
		rc = take_slice(r, &v, &i, first + n, err);
		view_close(r, &v);
	}
	if (rc != 0 && i > first)
		refcounts_decrement(r, i - first, first, NULL);
	return rc;
}

/* ---- Counting -------------------------------------------------------------- */

static int count_error(const struct refcounts *r, uint64_t cluster_idx, int code,
		       struct qcow2_error *err)
{
	uint64_t host_off = cluster_idx << r->geo->cluster_bits;

	if (code == -ERANGE)
		return error_set(err, code,
				 "the refcount of the cluster at %" PRIu64
				 " is at its maximum, %" PRIu64,
				 host_off, r->geo->refcount_max);
	return error_defect(err, -EIO, DEFECT_REFCOUNT_TOO_LOW, host_off,
			    "the cluster at %" PRIu64
			    " is freed but has refcount 0",
			    host_off);
}

/* The end of what [i, end) shares with one slice. */
static uint64_t in_slice(const struct refcounts *r, uint64_t i, uint64_t end)
{
	return min_u64(align_down(i, per_slice(r)) + per_slice(r), end);
}

/* Nothing is changed unless every cluster can be. */
static int increment_slice(struct refcounts *r, struct view *v, uint64_t i,
			   uint64_t end, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	for (uint64_t k = i; k < end; k++)
		if (view_get(r, v, k) == r->geo->refcount_max)
			return count_error(r, k, -ERANGE, err);
	for (uint64_t k = i; k < end; k++)
		view_put(r, v, k, view_get(r, v, k) + 1);
	dirty_mark(&r->dirty, v->slice);
	return 0;
}

/* A bad cluster does not keep its neighbours from being freed. */
static int decrement_slice(struct refcounts *r, struct view *v, uint64_t i,
			   uint64_t end, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	bool changed = false;
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	for (; i < end; i++) {
		uint64_t value = view_get(r, v, i);

		r->fell_low |= value <= 2;
		if (value == 0) {
			rc = count_error(r, i, -EIO, err);
			continue;
		}
		view_put(r, v, i, value - 1);
		changed = true;
		if (value == 1)
			r->next_free = min_u64(r->next_free, i);
	}
	if (changed)
		dirty_mark(&r->dirty, v->slice);
	return rc;
}

void refcounts_watch(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	r->fell_low = false;
}

bool refcounts_fell_low(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->fell_low;
}

static int increment_to(struct refcounts *r, uint64_t *i, uint64_t end,
			struct qcow2_error *err)
{
	while (*i < end) {
		uint64_t stop = in_slice(r, *i, end);
		struct view v;
		int rc = view_open(r, *i, &v, err);

		if (rc == 1) {
			rc = refcounts_add_block(r, *i, err);
		} else if (rc == 0) {
			rc = increment_slice(r, &v, *i, stop, err);
			view_close(r, &v);
			*i = rc < 0 ? *i : stop;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

int refcounts_increment(struct refcounts *r, uint64_t n, uint64_t first,
			struct qcow2_error *err)
{
	uint64_t i = first;
	int rc = increment_to(r, &i, first + n, err);

	if (rc < 0 && i > first)
		refcounts_decrement(r, i - first, first, NULL);
	return rc;
}

int refcounts_decrement(struct refcounts *r, uint64_t n, uint64_t first,
			struct qcow2_error *err)
{
	uint64_t end = first + n;
	int rc = 0;

	for (uint64_t i = first, stop; i < end; i = stop) {
		struct view v;
		int here = view_open(r, i, &v, err);

		stop = in_slice(r, i, end);
		if (here == 1) {
			here = count_error(r, i, -EIO, err);
		} else if (here == 0) {
			here = decrement_slice(r, &v, i, stop, err);
			view_close(r, &v);
		}
		rc = here < 0 ? here : rc;
	}
	return rc;
}

static int put_count(struct refcounts *r, struct view *v, uint64_t value,
		     uint64_t cluster_idx, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	view_put(r, v, cluster_idx, value);
	dirty_mark(&r->dirty, v->slice);
	if (value == 0)
		r->next_free = min_u64(r->next_free, cluster_idx);
	return 0;
}

int refcounts_set(struct refcounts *r, uint64_t value, uint64_t cluster_idx,
		  struct qcow2_error *err)
{
	struct view v;
	int rc = view_open(r, cluster_idx, &v, err);

	assert(value <= r->geo->refcount_max);
	if (rc != 0)
		return rc < 0 ? rc : count_error(r, cluster_idx, -EIO, err);
	rc = put_count(r, &v, value, cluster_idx, err);
	view_close(r, &v);
	return rc;
}

int refcounts_collect(struct refcounts *r, struct writes *out,
		      struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);

	return dirty_collect(&r->dirty, out, err);
}

void refcounts_written(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	dirty_written(&r->dirty);
}

bool refcounts_is_clean(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->dirty.waiting.n == 0;
}

bool refcounts_wanted(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->dirty.waiting.n > cache_capacity(&r->blocks) / 2;
}
