/*
 * Refcounts of another width (O25).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/refbuild.h"
#include "format/refcount.h"
#include "image/image.h"
#include "reshape/amend.h"
#include "store/store.h"
#include "write/header_sector.h"
#include "write/writer.h"

#define SECTIONS (QCOW2_OVERLAP_REFCOUNT_TABLE | QCOW2_OVERLAP_REFCOUNT_BLOCK)

/* ---- What there is now --------------------------------------------------- */

struct width_source {
	struct image *img;
	struct amend_progress *progress;
	uint64_t last; /* cluster up to which progress was told */
};

static int next_used(void *opaque, uint64_t idx, uint64_t *found,
		     struct qcow2_error *err)
{
	struct width_source *s = opaque;
	const struct refcounts *r = &s->img->writer->refs;
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t i = idx >> bits;

	(void)err;
	while (i < r->n_table && !r->table[i])
		i++;
	*found = i < r->n_table ? max_u64(idx, i << bits) : UINT64_MAX;
	return 0;
}

static int get_counts(void *opaque, uint64_t idx, uint32_t n, uint64_t *values,
		      struct qcow2_error *err)
{
	struct width_source *s = opaque;
	int rc = refcounts_read(&s->img->writer->refs, n, idx, values, err);

	if (rc < 0 || idx <= s->last)
		return rc;
	rc = amend_progress_add(s->progress, idx - s->last, err);
	s->last = idx;
	return rc;
}

/* ---- The switch ---------------------------------------------------------- */

struct new_place {
	struct refbuild built;
	uint32_t order;
};

static void set_place(struct header *h, void *opaque)
{
	const struct new_place *p = opaque;

	h->refcount_order = p->order;
	h->refcount_table_off = p->built.table_off;
	h->refcount_table_clusters = p->built.table_clusters;
}

/* The old structures: the table, and the blocks it lists. */
struct old_refcounts {
	struct reftable_place place;
	uint64_t *table;
	uint64_t n_table;
};

/* Reads what the header says now, with the old caches gone. */
static int reopen(struct image *img, struct old_refcounts *old,
		  struct qcow2_error *err)
{
	struct refcounts *r = &img->writer->refs;
	struct refcounts before = *r;
	uint64_t cache_bytes =
		cache_capacity(&r->blocks) * r->blocks.slice_bytes;
	int rc;

	*old = (struct old_refcounts){ r->place, r->table, r->n_table };
	r->table = NULL;
	refcounts_release(r);
	geometry_init(&img->geo, &img->header);
	rc = refcounts_open(r, &img->geo, &img->header, img->file, cache_bytes,
			    err);
	if (rc < 0) {
		refcounts_open_none(r, &img->geo, img->file, rc);
		/* Readers go on. */
		r->file_size = before.file_size;
		r->high_water = before.high_water;
	}
	r->owner = before.owner;
	r->held = before.held;
	return rc;
}

static int free_metadata(struct image *img, uint64_t n, uint64_t host_off,
			 struct qcow2_error *err)
{
	uint32_t bits = img->geo.cluster_bits;

	guard_remove(&img->writer->guard, SECTIONS, n << bits, host_off);
	return refcounts_decrement(&img->writer->refs, n, host_off >> bits,
				   err);
}

static int free_old(struct image *img, const struct old_refcounts *old,
		    struct qcow2_error *err)
{
	int rc = free_metadata(img, old->place.clusters, old->place.off, err);

	for (uint64_t i = 0; rc == 0 && i < old->n_table; i++)
		if (old->table[i])
			rc = free_metadata(
				img, 1, refcount_block_off(old->table[i]), err);
	return rc;
}

/* What was written behind the end of what is in use is free, but not zeros any
 * more.  A header that is unsettled may point to it. */
static int leave_behind(struct image *img, int code)
{
	uint64_t size;
	int rc = store_size(img->file, &size, NULL);

	if (rc == 0)
		refcounts_skip(&img->writer->refs, size);
	if (rc < 0 || !header_sector_is_settled(img))
		commit_poison(&img->writer->commit, code);
	return code;
}

static int use_new(struct image *img, const struct new_place *p,
		   struct qcow2_error *err)
{
	struct old_refcounts old;
	int rc = guard_add(&img->writer->guard, SECTIONS,
			   p->built.end_off - p->built.table_off,
			   p->built.table_off, err);

	if (rc == 0)
		rc = header_sector_update(img, set_place, (void *)(uintptr_t)p,
					  err);
	if (rc < 0) {
		guard_remove(&img->writer->guard, SECTIONS,
			     p->built.end_off - p->built.table_off,
			     p->built.table_off);
		return leave_behind(img, rc);
	}
	rc = reopen(img, &old, err);
	if (rc == 0)
		rc = free_old(img, &old, err);
	else
		commit_poison(&img->writer->commit, rc);
	free(old.table);
	return rc;
}

int amend_refcount_order(struct image *img, uint32_t order,
			 struct amend_progress *p, struct qcow2_error *err)
{
	struct refcounts *r = &img->writer->refs;
	struct width_source s = { img, p, 0 };
	struct refbuild_source source = { &s, next_used, get_counts };
	struct new_place to = { .order = order };
	struct header h = img->header;
	struct geometry g;
	uint64_t start;
	int rc;

	alloc_give_back(&img->writer->alloc);
	rc = commit_drain(&img->writer->commit, err);
	if (rc < 0)
		return rc;
	h.refcount_order = order;
	geometry_init(&g, &h);
	start = max_u64(r->high_water,
			align_up(r->file_size, img->geo.cluster_size));
	p->total = (start >> img->geo.cluster_bits) + 1;
	p->done = 0;
	rc = refbuild_write(img->file, &g, &source, start, &to.built, err);
	if (rc < 0)
		return leave_behind(img, rc);
	rc = use_new(img, &to, err);
	return rc < 0 ? rc : commit_drain(&img->writer->commit, err);
}
