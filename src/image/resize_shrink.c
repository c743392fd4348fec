/*
 * Shrinking the disk (O15).
 */
#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/mutant.h"
#include "image/change.h"
#include "image/entry.h"
#include "image/features.h"
#include "image/image.h"
#include "image/l1_grow.h"
#include "image/resize.h"
#include "image/rw.h"
#include "meta/refcounts_shrink.h"
#include "store/store.h"

/* Runs that may be on the way to being freed before a commit sees to it. */
enum { FREED_MAX = 65536 };

/* ---- The table in which the disk ends ---------------------------------------- */

static struct change cut_cluster(const struct image *img, struct l2_entry old,
				 uint64_t guest_off, unsigned flags)
{
	(void)img;
	(void)guest_off;
	(void)flags;
	return (struct change){ .skip = !old.desc && !old.bitmap,
				.frees = true, .frees_space = true };
}

/* ---- Tables behind it -------------------------------------------------------- */

struct l2_walk {
	struct image *img;
	uint64_t table;         /* host offset */
	uint64_t guest_off;     /* of its first entry */
	struct slice *slice;    /* the current one, pinned */
	uint64_t next;          /* bytes of the table walked */
};

/* The next slice of the table; 1, 0 at the end, or an error. */
static int walk_next(struct l2_walk *w, struct qcow2_error *err)
{
	struct cache *l2 = &w->img->map.l2;
	uint64_t size = w->img->geo.cluster_size;
	int rc;

	if (w->slice)
		cache_put(l2, w->slice);
	w->slice = NULL;
	if (w->next == size)
		return 0;
	rc = cache_get(l2, w->table + w->next, w->table + size, 0, &w->slice,
		       err);
	w->next += l2->slice_bytes;
	return rc < 0 ? rc : 1;
}

static uint64_t slice_entries(const struct l2_walk *w)
{
	return w->img->map.l2.slice_bytes / w->img->geo.l2_entry_bytes;
}

static uint64_t entry_guest_off(const struct l2_walk *w, uint64_t i)
{
	uint64_t before = (w->next - w->img->map.l2.slice_bytes) /
			  w->img->geo.l2_entry_bytes;

	return w->guest_off + ((before + i) << w->img->geo.cluster_bits);
}

/* Damage is found before anything is freed. */
static int check_table(struct l2_walk w, struct qcow2_error *err)
{
	const struct geometry *g = &w.img->geo;
	int rc;

	while ((rc = walk_next(&w, err)) > 0) {
		for (uint64_t i = 0; rc >= 0 && i < slice_entries(&w); i++)
			rc = entry_check(w.img, l2_get(g, w.slice->data, i),
					 entry_guest_off(&w, i), err);
		if (rc < 0) {
			cache_put(&w.img->map.l2, w.slice);
			return rc;
		}
	}
	return rc;
}

static int free_entries(struct l2_walk w, uint64_t *n_freed,
			struct qcow2_error *err)
{
	struct image *img = w.img;
	uint64_t n = slice_entries(&w);
	int rc;

	while ((rc = walk_next(&w, err)) > 0) {
		rc = commit_begin(&img->rw->commit, n, err);
		if (rc < 0) {
			cache_put(&img->map.l2, w.slice);
			return rc;
		}
		for (uint64_t i = 0; i < n; i++)
			entry_free(img, l2_get(&img->geo, w.slice->data, i),
				   true);
		commit_end(&img->rw->commit);
		*n_freed += n;
	}
	return rc;
}

/* The L1 entry goes in the same commit as all that the table pointed to: there
 * is none in between, since the image is ours. */
static int cut_table(struct image *img, uint64_t index, uint64_t *n_freed,
		     struct qcow2_error *err)
{
	uint64_t entry = map_l1_entry(&img->map, index);
	struct l2_walk w = { .img = img, .table = l1_table_off(entry),
			     .guest_off = index * geometry_l2_reach(&img->geo) };
	struct commit *c = &img->rw->commit;
	int rc = 0;

	if (!entry)
		return 0;
	if (w.table) {
		enum defect bad = l1_entry_defect(&img->geo, entry,
						  image_file_end(img));

		if (bad != DEFECT_NONE && bad != DEFECT_L1_ENTRY_RESERVED) {
			error_defect(err, -EIO, (int)bad, w.table,
				     "%s (entry %" PRIu64 " is 0x%" PRIx64 ")",
				     defect_info((int)bad)->text, index, entry);
			return features_mark_corrupt(img, -EIO);
		}
		rc = check_table(w, err);
	}
	if (rc == 0)
		rc = commit_begin(c, 1, err);
	if (rc < 0)
		return rc;
	commit_set_l1(c, index, 0);
	if (w.table) {
		guard_remove(&img->rw->guard, QCOW2_OVERLAP_ACTIVE_L2, 1,
			     w.table);
		commit_free(c, (struct freed){ w.table, 1, true });
	}
	commit_end(c);
	return w.table ? free_entries(w, n_freed, err) : 0;
}

static int cut_tables(struct image *img, uint64_t first,
		      struct qcow2_error *err)
{
	uint64_t n_freed = 0;
	int rc = 0;

	for (uint64_t i = first; rc == 0 && i < img->map.l1.n_entries; i++) {
		rc = cut_table(img, i, &n_freed, err);
		if (rc == 0 && n_freed >= FREED_MAX) {
			rc = image_flush(img, err);
			n_freed = 0;
		}
	}
	return rc;
}

/* ---- All of it --------------------------------------------------------------- */

static int cut_entries(struct image *img, uint64_t size,
		       struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	uint64_t n_tables = geometry_l1_entries(g, size);
	int rc = l1_lengthen(img, l1_entries_in_file(img), err);

	if (rc == 0)
		rc = change_clusters(img, n_tables * geometry_l2_reach(g),
				     align_up(size, g->cluster_size),
				     cut_cluster, 0, err);
	if (rc == 0)
		rc = cut_tables(img, n_tables, err);
	if (rc == 0 && !MUTANT(l1_cut_early))
		rc = commit_drain(&img->rw->commit, err);
	if (rc == 0)
		rc = l1_shorten(img, n_tables, err);
	return rc;
}

/* Blocks that the removal of others empties go in the next round. */
static int cut_refcounts(struct image *img, struct qcow2_error *err)
{
	bool more = true;
	int rc;

	alloc_give_back(&img->rw->alloc);
	rc = commit_drain(&img->rw->commit, err);
	while (rc == 0 && more) {
		rc = refcounts_shrink(&img->rw->refs, &more, err);
		if (rc == 0)
			rc = commit_drain(&img->rw->commit, err);
	}
	return rc;
}

int image_shrink(struct image *img, uint64_t size, struct qcow2_error *err)
{
	int rc = image_flush(img, err);

	if (rc == 0 && !MUTANT(cut_before_size))
		rc = resize_header(img, size, err);
	if (rc < 0)
		return rc;
	img->virtual_size = size;
	rc = cut_entries(img, size, err);
	if (rc == 0 && img->geo.has_data_file)
		rc = store_truncate(img->data, size, err);
	if (rc == 0)
		rc = cut_refcounts(img, err);
	if (MUTANT(cut_before_size))
		resize_header(img, size, err);
	return rc;
}
