/*
 * Refcounts of another width (O25).
 */
#include "counts/refbuild.h"
#include "counts/replace.h"
#include "counts/used.h"
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

	(void)err;
	*found = refcounts_next_described(&s->img->writer->refs, idx);
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

static void amend_refcounts_set_place(struct header *h, void *opaque)
{
	const struct new_place *p = opaque;

	h->refcount_order = p->order;
	h->refcount_table_off = p->built.table_off;
	h->refcount_table_clusters = p->built.table_clusters;
}

/* The clusters written past the end of those in use are free, but no longer
 * zeros.  A header that is unsettled may point to them. */
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
	int rc = guard_add(&img->writer->guard, SECTIONS,
			   p->built.end_off - p->built.table_off,
			   p->built.table_off, err);
	int broken;

	if (rc == 0)
		rc = header_sector_update(img, amend_refcounts_set_place,
					  (void *)(uintptr_t)p, err);
	if (rc < 0) {
		guard_remove(&img->writer->guard, SECTIONS,
			     p->built.end_off - p->built.table_off,
			     p->built.table_off);
		return leave_behind(img, rc);
	}
	geometry_init(&img->geo, &img->header);
	rc = refcounts_replace(&img->writer->refs, &img->header, err);
	broken = refcounts_broken(&img->writer->refs);
	if (broken)
		commit_poison(&img->writer->commit, broken);
	return rc;
}

int amend_refcount_order(struct image *img, uint32_t order,
			 struct amend_progress *p, struct qcow2_error *err)
{
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
	start = refcounts_end(&img->writer->refs);
	p->total = (start >> img->geo.cluster_bits) + 1;
	p->done = 0;
	rc = refbuild_write(img->file, &g, &source, start, &to.built, err);
	if (rc < 0)
		return leave_behind(img, rc);
	rc = use_new(img, &to, err);
	return rc < 0 ? rc : commit_drain(&img->writer->commit, err);
}
