#include "write/change.h"

#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "counts/inherited.h"
#include "image/image.h"
#include "store/store.h"
#include "write/entry.h"
#include "write/features.h"
#include "write/tables.h"
#include "write/writer.h"

/* Requests that change fewer tables ask nobody. */
enum { TABLES_FEW = 64 };

/* Gives back the space of clusters that stay.  Nobody can use them for anything
 * else, so there is nothing to wait for; and waiting would be wrong, since the
 * next write goes to the same place.  Failing to costs space and nothing
 * else. */
static void punch_window(struct image *img, const struct map_window *w,
			 uint64_t n, uint64_t off, change_fn *fn,
			 unsigned flags)
{
	uint32_t size = img->geo.cluster_size;

	for (uint64_t i = 0; i < n; i++) {
		struct l2_entry old = map_window_entry(w, &img->geo, i);
		struct change change =
			fn(img, old, off + (i << img->geo.cluster_bits), flags);

		if (!change.skip && change.punches &&
		    refcounts_may_reuse(&img->writer->refs,
					l2_host_off(old) >>
						img->geo.cluster_bits))
			store_zero(img->file, size, l2_host_off(old),
				   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK,
				   NULL);
	}
}

/* Applies @fn to one window; the entries are ours. */
static int link_window(struct image *img, const struct map_window *w,
		       uint64_t n, uint64_t off, change_fn *fn, unsigned flags,
		       struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	int rc = commit_begin(c, n * ENTRY_FREED_MAX, err);

	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		struct l2_entry old = map_window_entry(w, &img->geo, i);
		struct change change =
			fn(img, old, off + (i << img->geo.cluster_bits), flags);

		if (change.skip)
			continue;
		commit_set_l2(c, w->slice, w->first + i, change.entry);
		if (change.frees)
			entry_free(img, old,
				   change.frees_space ||
					   img->writer->policy.request);
	}
	commit_end(c);
	return 0;
}

/* Entries in the window that @fn wants to change, after checking them all. */
static int wanted(struct image *img, const struct map_window *w, uint64_t n,
		  uint64_t off, change_fn *fn, unsigned flags, bool *any,
		  struct qcow2_error *err)
{
	static const struct l2_entry none = { 0, 0 };

	*any = false;
	if (!w->slice) {
		*any = !fn(img, none, off, flags).skip;
		return 0;
	}
	for (uint64_t i = 0; i < n; i++) {
		struct l2_entry e = map_window_entry(w, &img->geo, i);
		uint64_t at = off + (i << img->geo.cluster_bits);
		int rc = entry_check(img, e, at, err);

		if (rc < 0)
			return rc;
		*any |= !fn(img, e, at, flags).skip;
	}
	return 0;
}

static int get_window(struct image *img, uint64_t end, uint64_t off,
		      struct map_window *w, uint64_t *n,
		      struct qcow2_error *err)
{
	int rc = map_window_get(&img->map, end, off, 0, w, err);

	*n = rc < 0 ? 0
		    : min_u64(w->n_entries,
			      (end - off) >> img->geo.cluster_bits);
	return rc;
}

static int change_window(struct image *img, uint64_t end, uint64_t off,
			 change_fn *fn, unsigned flags, uint64_t *n,
			 struct qcow2_error *err)
{
	struct map_window w;
	bool any;
	int rc = get_window(img, end, off, &w, n, err);

	if (rc < 0)
		return rc;
	rc = wanted(img, &w, *n, off, fn, flags, &any, err);
	map_window_put(&img->map, &w);
	if (rc < 0 || !any)
		return rc;
	rc = tables_make(img, off, err);
	if (rc == 0)
		rc = get_window(img, end, off, &w, n, err);
	if (rc < 0)
		return rc;
	punch_window(img, &w, *n, off, fn, flags);
	rc = link_window(img, &w, *n, off, fn, flags, err);
	map_window_put(&img->map, &w);
	return rc;
}

int change_clusters(struct image *img, uint64_t end, uint64_t off,
		    change_fn *fn, unsigned flags, struct qcow2_error *err)
{
	while (off < end) {
		uint64_t n;
		int rc = change_window(img, end, off, fn, flags, &n, err);

		if (rc < 0)
			return rc;
		off += n << img->geo.cluster_bits;
	}
	return 0;
}

static int change_region(struct image *img, uint64_t end, uint64_t off,
			 change_region_fn *fn, unsigned flags,
			 struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	struct inflight_range range;
	int rc;

	if (!inflight_enter(&img->writer->inflight, &range,
			    align_down(off, cluster), align_up(end, cluster),
			    !(flags & QCOW2_NOWAIT)))
		return error_set(err, -EAGAIN,
				 "an overlapping write is under way");
	rc = fn(img, end, off, flags, err);
	inflight_leave(&img->writer->inflight, &range);
	return rc;
}

/* A guest can ask for the whole disk in one request. */
static int allow(struct image *img, uint64_t end, uint64_t off,
		 struct qcow2_error *err)
{
	if (off >= end ||
	    (end - off) / TABLES_FEW < geometry_l2_reach(&img->geo))
		return 0;
	return image_allow_walk(img, err);
}

int change_regions(struct image *img, uint64_t end, uint64_t off,
		   change_region_fn *fn, unsigned flags,
		   struct qcow2_error *err)
{
	int rc = allow(img, end, off, err);

	if (rc == 0)
		rc = proof_before_change(img, end - off, flags, err);
	if (rc == 0)
		rc = features_before_guest_change(img, err);
	while (rc == 0 && off < end) {
		uint64_t stop = min_u64(end, inflight_region_end(off));
		struct grace_ref ref;

		rc = commit_make_room(&img->writer->commit, err);
		if (rc < 0)
			return rc;
		ref = writer_grace_begin(img);
		rc = change_region(img, stop, off, fn, flags, err);
		writer_grace_end(ref);
		if (rc == 0 && commit_wanted(&img->writer->commit))
			rc = image_flush(img, err);
		off = stop;
	}
	if (rc == 0 && (flags & QCOW2_FUA))
		rc = image_flush(img, err);
	return rc;
}
