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
#include "write/write.h"
#include "write/writer.h"

/* Requests that change fewer tables ask nobody. */
enum { TABLES_FEW = 64 };

/* Clusters of one request that one window of the map shows. */
struct change_window {
	change_fn *fn;
	unsigned flags;
	uint64_t off; /* of the first cluster */
	uint64_t n_clusters;
	struct map_window map;
};

static int window_get(struct image *img, uint64_t end, struct change_window *w,
		      struct qcow2_error *err)
{
	int rc = map_window_get(&img->map, end, w->off, 0, &w->map, err);

	if (rc == 0)
		w->n_clusters =
			min_u64(w->map.n_entries,
				(end - w->off) >> img->geo.cluster_bits);
	return rc;
}

static struct change window_decide(const struct image *img,
				   const struct change_window *w, uint64_t i,
				   struct l2_entry old)
{
	return w->fn(img, old, w->off + (i << img->geo.cluster_bits), w->flags);
}

/* Gives back the space of clusters that stay.  Nobody can use them for anything
 * else, so there is nothing to wait for; and waiting would be wrong, since the
 * next write goes to the same place.  A failure costs space and nothing
 * else. */
static void punch_window(struct image *img, const struct change_window *w)
{
	uint32_t size = img->geo.cluster_size;

	for (uint64_t i = 0; i < w->n_clusters; i++) {
		struct l2_entry old = map_window_entry(&w->map, &img->geo, i);
		struct change change = window_decide(img, w, i, old);

		if (!change.skip && change.punches &&
		    refcounts_may_reuse(&img->writer->refs,
					l2_host_off(old) >>
						img->geo.cluster_bits))
			store_zero(img->file, size, l2_host_off(old),
				   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK,
				   NULL);
	}
}

/* Changes the entries, which are ours. */
static int link_window(struct image *img, const struct change_window *w,
		       struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	int rc = commit_begin(c, w->n_clusters * ENTRY_FREED_MAX, err);

	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < w->n_clusters; i++) {
		struct l2_entry old = map_window_entry(&w->map, &img->geo, i);
		struct change change = window_decide(img, w, i, old);

		if (change.skip)
			continue;
		commit_set_l2(c, w->map.slice, w->map.first + i, change.entry);
		if (change.frees)
			entry_free(img, old,
				   change.frees_space ||
					   img->writer->policy.request);
	}
	commit_end(c);
	return 0;
}

/* Whether anything in the window is to be changed, after checking it all. */
static int check_window(struct image *img, const struct change_window *w,
			struct change *all, struct qcow2_error *err)
{
	static const struct l2_entry none = { 0, 0 };

	*all = (struct change){ .skip = true };
	if (!w->map.slice) {
		all->skip = window_decide(img, w, 0, none).skip;
		return 0;
	}
	for (uint64_t i = 0; i < w->n_clusters; i++) {
		struct l2_entry e = map_window_entry(&w->map, &img->geo, i);
		uint64_t at = w->off + (i << img->geo.cluster_bits);
		int rc = entry_check(img, e, at, err);
		struct change change;

		if (rc < 0)
			return rc;
		change = window_decide(img, w, i, e);
		all->skip &= change.skip;
		all->punches |= !change.skip && change.punches;
	}
	return 0;
}

static int change_window(struct image *img, uint64_t end,
			 struct change_window *w, struct qcow2_error *err)
{
	struct change all;
	int rc = window_get(img, end, w, err);

	if (rc < 0)
		return rc;
	rc = check_window(img, w, &all, err);
	map_window_put(&img->map, &w->map);
	if (rc < 0 || all.skip)
		return rc;
	rc = tables_make(img, w->off, err);
	if (rc == 0)
		rc = window_get(img, end, w, err);
	if (rc < 0)
		return rc;
	if (all.punches)
		punch_window(img, w);
	rc = link_window(img, w, err);
	map_window_put(&img->map, &w->map);
	return rc;
}

int change_clusters(struct image *img, uint64_t end, uint64_t off,
		    change_fn *fn, unsigned flags, struct qcow2_error *err)
{
	struct change_window w = { .fn = fn, .flags = flags, .off = off };

	while (w.off < end) {
		int rc = change_window(img, end, &w, err);

		if (rc < 0)
			return rc;
		w.off += w.n_clusters << img->geo.cluster_bits;
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
	struct grace_ref ref;
	int rc;

	if (off >= end ||
	    (end - off) / TABLES_FEW < geometry_l2_reach(&img->geo))
		return 0;
	ref = writer_grace_begin(img);
	rc = image_allow_walk(img, err);
	writer_grace_end(ref);
	return rc;
}

int change_regions(struct image *img, uint64_t end, uint64_t off,
		   change_region_fn *fn, unsigned flags,
		   struct qcow2_error *err)
{
	int rc = allow(img, end, off, err);

	if (rc == 0)
		rc = proof_before_change(img, end - off, flags, err);
	if (rc == 0 && !(flags & WRITE_UNSEEN))
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
