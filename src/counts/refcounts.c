#include "counts/refcounts.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "counts/grow.h"
#include "counts/inherited.h"
#include "counts/view.h"
#include "store/store.h"

static int counts_refcounts_read_table(struct refcounts *r,
				       struct qcow2_error *err)
{
	uint64_t bytes = (uint64_t)r->place.clusters << r->geo->cluster_bits;
	uint64_t n = bytes / REFCOUNT_TABLE_ENTRY_BYTES;
	CLEANUP_FREE uint8_t *raw = alloc_bytes(bytes);
	int rc;

	r->table = alloc_zeroed(n, sizeof(*r->table));
	if (!raw || !r->table)
		return error_nomem(err, "the refcount table", 2 * bytes);
	rc = store_pread(r->file, raw, to_size(bytes), r->place.off, 0, err);
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		r->table[i] = get_be64(raw + 8 * i);
	r->n_table = n;
	return rc;
}

int refcounts_open(struct refcounts *r, const struct geometry *g,
		   const struct header *h, struct qcow2_store *file,
		   uint64_t cache_bytes, struct qcow2_error *err)
{
	uint32_t slice =
		(uint32_t)min_u64(g->cluster_size, L2_SLICE_BYTES_DEFAULT);
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
		rc = counts_refcounts_read_table(r, err);
	if (rc == 0)
		rc = cache_init(&r->blocks, file, cache_bytes, slice, err);
	dirty_init(&r->dirty, &r->blocks);
	if (rc < 0)
		refcounts_release(r);
	return rc;
}

void refcounts_open_none(struct refcounts *r, const struct geometry *g,
			 struct qcow2_store *file, int code)
{
	memset(r, 0, sizeof(*r));
	r->geo = g;
	r->file = file;
	r->broken = code;
	pthread_mutex_init(&r->grow_lock, NULL);
	pthread_mutex_init(&r->lock, NULL);
	dirty_init(&r->dirty, &r->blocks);
}

void refcounts_set_owner(struct refcounts *r, struct refcounts_owner owner)
{
	r->owner = owner;
}

void refcounts_set_clean(struct refcounts *r, uint32_t sec)
{
	cache_set_clean(&r->blocks, sec);
}

int refcounts_broken(const struct refcounts *r)
{
	return r->broken;
}

uint64_t refcounts_high_water(const struct refcounts *r)
{
	return atomic_load_explicit(&r->high_water, memory_order_relaxed);
}

const _Atomic uint64_t *refcounts_high_water_mark(const struct refcounts *r)
{
	return &r->high_water;
}

uint64_t refcounts_end(struct refcounts *r)
{
	SCOPED_LOCK(&r->grow_lock);

	return max_u64(r->high_water,
		       align_up(r->file_size, r->geo->cluster_size));
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

/* ---- One slice ----------------------------------------------------------- */

/* The table entry for a cluster, and the end of what can lie in the file. */
static uint64_t counts_refcounts_table_entry(struct refcounts *r,
					     uint64_t cluster_idx,
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
	return error_defect(err, -EIO, (int)defect, refcount_block_off(entry),
			    "%s (refcount table entry 0x%" PRIx64 ")",
			    defect_info((int)defect)->text, entry);
}

int refcounts_view(struct refcounts *r, uint64_t cluster_idx, struct view *v,
		   struct qcow2_error *err)
{
	uint64_t file_end;
	uint64_t entry =
		counts_refcounts_table_entry(r, cluster_idx, &file_end);
	uint64_t block;
	uint64_t n = UINT64_C(1) << r->geo->refcount_block_bits;
	uint64_t in_block = cluster_idx & (n - 1);
	uint64_t slice_idx = in_block / refcounts_per_slice(r);
	enum defect bad =
		refcount_table_entry_decode(r->geo, entry, file_end, &block);

	if (bad)
		return bad_block(entry, bad, err);
	if (block == 0)
		return 1;
	v->first = cluster_idx - in_block + slice_idx * refcounts_per_slice(r);
	v->end = v->first + min_u64(refcounts_per_slice(r), n);
	return cache_get(&r->blocks, block + slice_idx * r->blocks.slice_bytes,
			 block + r->geo->cluster_size, 0, &v->slice, err);
}

int refcounts_get(struct refcounts *r, uint64_t cluster_idx, uint64_t *value,
		  struct qcow2_error *err)
{
	struct view v;
	int rc = refcounts_view(r, cluster_idx, &v, err);

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

	memset(values, 0, to_size(n * sizeof(*values)));
	while (i < n) {
		struct view v;
		int rc = refcounts_view(r, first + i, &v, err);

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
		int rc = refcounts_view(r, first, &v, err);

		if (rc != 0)
			return rc < 0 ? rc : 0;
		*used = view_has_used(r, &v, end, but);
		first = v.end;
		view_close(r, &v);
	}
	return 0;
}

/* ---- Counting ------------------------------------------------------------ */

static int count_error(const struct refcounts *r, uint64_t cluster_idx,
		       int code, struct qcow2_error *err)
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
	return min_u64(align_down(i, refcounts_per_slice(r)) +
			       refcounts_per_slice(r),
		       end);
}

/* Nothing is changed unless every cluster can be. */
static int increment_slice(struct refcounts *r, struct view *v, uint64_t i,
			   uint64_t end, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
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

static void became_free(struct refcounts *r, uint64_t cluster_idx)
{
	if (refcounts_may_reuse(r, cluster_idx))
		r->next_free = min_u64(r->next_free, cluster_idx);
	r->inherited.freed |= cluster_idx < r->inherited.end;
}

/* A bad cluster does not keep its neighbours from being freed.  A refcount that
 * is doubted may well be 0: it was too low, and nobody will claim the
 * cluster. */
static int decrement_slice(struct refcounts *r, struct view *v, uint64_t i,
			   uint64_t end, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
	bool changed = false;
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	for (; i < end; i++) {
		uint64_t value = view_get(r, v, i);

		r->fell_low |= value <= 2;
		if (value == 0) {
			if (refcounts_may_reuse(r, i))
				rc = count_error(r, i, -EIO, err);
			continue;
		}
		view_put(r, v, i, value - 1);
		changed = true;
		if (value == 1)
			became_free(r, i);
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

struct refcount_totals refcounts_totals(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->totals;
}

uint64_t refcounts_dirty_bytes(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return dirty_bytes(&r->dirty);
}

bool refcounts_fell_low(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->fell_low;
}

/* The file is longer than what could hold the block that is missing. */
static int no_block(const struct refcounts *r, uint64_t cluster_idx,
		    struct qcow2_error *err)
{
	uint64_t host_off = cluster_idx << r->geo->cluster_bits;

	return error_defect(err, -EIO, DEFECT_REFCOUNT_TOO_LOW, host_off,
			    "the cluster at %" PRIu64
			    " is in use and has no refcount block",
			    host_off);
}

static int increment_to(struct refcounts *r, uint64_t *i, uint64_t end,
			struct qcow2_error *err)
{
	while (*i < end) {
		uint64_t stop = in_slice(r, *i, end);
		struct view v;
		int rc = refcounts_view(r, *i, &v, err);

		if (rc == 1) {
			rc = refcounts_add_block(r, *i, err);
			if (rc == 1)
				return no_block(r, *i, err);
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
		int here = refcounts_view(r, i, &v, err);

		stop = in_slice(r, i, end);
		if (here == 1) {
			here = refcounts_may_reuse(r, i)
				       ? count_error(r, i, -EIO, err)
				       : 0;
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
	SCOPED_VALIDATE(refcounts, r);
	int rc = dirty_reserve(&r->dirty, err);

	if (rc < 0)
		return rc;
	view_put(r, v, cluster_idx, value);
	dirty_mark(&r->dirty, v->slice);
	if (value == 0)
		became_free(r, cluster_idx);
	return 0;
}

int refcounts_set(struct refcounts *r, uint64_t value, uint64_t cluster_idx,
		  struct qcow2_error *err)
{
	struct view v;
	int rc = refcounts_view(r, cluster_idx, &v, err);

	assert(value <= r->geo->refcount_max);
	if (rc != 0)
		return rc < 0 ? rc : count_error(r, cluster_idx, -EIO, err);
	rc = put_count(r, &v, value, cluster_idx, err);
	view_close(r, &v);
	return rc;
}

/* ---- Writing ------------------------------------------------------------- */

static bool is_empty(const struct table_range *t)
{
	return t->first >= t->end;
}

static void include(struct table_range *t, uint64_t first, uint64_t end)
{
	t->first = is_empty(t) ? first : min_u64(t->first, first);
	t->end = max_u64(t->end, end);
}

void refcounts_table_changed(struct refcounts *r, uint64_t index)
{
	assert(index < r->n_table);
	include(&r->changes.waiting, index, index + 1);
}

/* In whole sectors, which the table has in memory too. */
static int collect_table(struct refcounts *r, struct writes *out,
			 struct qcow2_error *err)
{
	enum { PER_SECTOR = SECTOR_BYTES / REFCOUNT_TABLE_ENTRY_BYTES };
	struct table_range t = r->changes.waiting;
	uint8_t raw[SECTOR_BYTES];
	int rc = 0;

	for (uint64_t i = align_down(t.first, PER_SECTOR);
	     rc == 0 && !is_empty(&t) && i < t.end; i += PER_SECTOR) {
		for (unsigned k = 0; k < PER_SECTOR; k++)
			put_be64(raw + k * REFCOUNT_TABLE_ENTRY_BYTES,
				 r->table[i + k]);
		rc = writes_add(out, raw, sizeof(raw),
				r->place.off + i * REFCOUNT_TABLE_ENTRY_BYTES,
				err);
	}
	if (rc == 0)
		r->changes = (struct table_changes){ { 0 }, t };
	return rc;
}

int refcounts_collect(struct refcounts *r, struct writes *out,
		      struct qcow2_error *err)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
	int rc = collect_table(r, out, err);

	return rc < 0 ? rc : dirty_collect(&r->dirty, out, err);
}

void refcounts_written(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	dirty_written(&r->dirty);
	r->changes.writing = (struct table_range){ 0 };
}

void refcounts_failed(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
	struct table_range t = r->changes.writing;

	dirty_failed(&r->dirty);
	if (!is_empty(&t))
		include(&r->changes.waiting, t.first, t.end);
	r->changes.writing = (struct table_range){ 0 };
}

bool refcounts_is_clean(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->dirty.waiting.n == 0 && is_empty(&r->changes.waiting);
}

bool refcounts_wanted(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	/* There is no cache if opening failed. */
	return r->dirty.waiting.n &&
	       r->dirty.waiting.n > cache_capacity(&r->blocks) / 2;
}
