/*
 * Zeroing: whole clusters by flag, subclusters by their bits.  Part of one gets
 * the flag too where the rest reads as zeros and nothing is allocated; the rest
 * is written.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "image/image.h"
#include "store/store.h"
#include "write/change.h"
#include "write/entry.h"
#include "write/tables.h"
#include "write/write.h"
#include "write/writer.h"

/* ---- Whole clusters ------------------------------------------------------ */

static bool is_zero_already(const struct image *img, struct l2_entry e,
			    uint64_t guest_off)
{
	struct entry_plan p;

	entry_plan_init(img, &p, e, guest_off);
	return p.reads_zero;
}

static struct change zero_cluster(const struct image *img, struct l2_entry old,
				  uint64_t guest_off, unsigned flags)
{
	bool own = (old.desc & ENTRY_COPIED) && !(old.desc & L2_COMPRESSED);
	bool keep = own &&
		    (!(flags & QCOW2_ZERO_MAY_UNMAP) || img->geo.has_data_file);
	struct change change = { .frees = !keep };

	if (is_zero_already(img, old, guest_off) &&
	    (!own || !(flags & QCOW2_ZERO_MAY_UNMAP)))
		return (struct change){ .skip = true };
	/* Version 2 has no zero flag: nothing can stay behind the zeros. */
	if (img->geo.version < 3)
		return (struct change){ .frees = true };
	change.entry.desc = keep ? old.desc : 0;
	if (img->geo.extended_l2)
		change.entry.bitmap = SUB_ALL_ZERO;
	else
		change.entry.desc |= L2_ZERO;
	return change;
}

/* The zero flag came with version 3; before, a cluster can be unmapped where
 * nothing shines through. */
static bool can_flag(const struct image *img, uint64_t guest_off)
{
	return img->geo.version >= 3 || entry_below_is_zero(img, guest_off);
}

/* ---- Subclusters --------------------------------------------------------- */

struct sub_range {
	uint64_t off;
	uint64_t end;
};

/* Sets the zero bits of the subclusters of one cluster; false in *done where
 * the cluster is compressed. */
static int zero_subclusters(struct image *img, struct sub_range r, bool *done,
			    struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	uint64_t cluster = align_down(r.off, g->cluster_size);
	uint64_t bits =
		(SUB_ALLOC((r.end - 1 - cluster) >> g->subcluster_bits) << 1) -
		SUB_ALLOC((r.off - cluster) >> g->subcluster_bits);
	struct map_window w;
	struct l2_entry e;
	int rc = tables_make(img, r.off, err);

	if (rc == 0)
		rc = map_window_get(&img->map, r.end, r.off, 0, &w, err);
	if (rc < 0)
		return rc;
	e = map_window_entry(&w, g, 0);
	rc = entry_check(img, e, r.off, err);
	*done = rc == 0 && !(e.desc & L2_COMPRESSED);
	if (*done)
		rc = commit_begin(&img->writer->commit, 0, err);
	if (*done && rc == 0) {
		e.bitmap = (e.bitmap & ~bits) | bits << 32;
		commit_set_l2(&img->writer->commit, w.slice, w.first, e);
		commit_end(&img->writer->commit);
	}
	map_window_put(&img->map, &w);
	return rc;
}

/* ---- The rest ------------------------------------------------------------ */

static int reads_zero(struct image *img, uint64_t len, uint64_t off, bool *zero,
		      struct qcow2_error *err)
{
	struct image_extent x;
	int rc = image_map(img, len, off, 0, &x, err);

	*zero = rc == 0 && x.len == len &&
		(x.kind == SUBCLUSTER_ZERO_PLAIN ||
		 x.kind == SUBCLUSTER_ZERO_ALLOC ||
		 (x.kind != SUBCLUSTER_NORMAL &&
		  x.kind != SUBCLUSTER_COMPRESSED &&
		  entry_below_is_zero(img, off)));
	return rc;
}

/* [off, end) has no data of its own, and zeros where it shows what is below. */
static bool shows_zeros(struct image *img, uint64_t end, uint64_t off)
{
	while (off < end) {
		struct image_extent x;

		if (image_map(img, end - off, off, 0, &x, NULL) < 0 ||
		    x.kind == SUBCLUSTER_NORMAL ||
		    x.kind == SUBCLUSTER_COMPRESSED)
			return false;
		if (x.kind != SUBCLUSTER_ZERO_PLAIN &&
		    x.kind != SUBCLUSTER_ZERO_ALLOC &&
		    !entry_below_reads_zero(img, x.len, off))
			return false;
		off += x.len;
	}
	return true;
}

/* The cluster or subcluster in which [off, end) lies becomes zeros by flag
 * where everything else in it reads as zeros; else *done is false. */
static int zero_around_clusters(struct image *img, uint64_t end, uint64_t off,
				unsigned flags, bool *done,
				struct qcow2_error *err)
{
	uint64_t unit = UINT64_C(1) << img->geo.subcluster_bits;
	struct sub_range all = { align_down(off, unit), align_up(end, unit) };
	uint64_t disk_end = min_u64(all.end, img->virtual_size);
	struct image_extent x;
	int rc = image_map(img, end - off, off, 0, &x, err);

	*done = false;
	if (rc < 0 || img->geo.version < 3 || all.end - all.off > unit ||
	    x.kind == SUBCLUSTER_NORMAL || x.kind == SUBCLUSTER_COMPRESSED ||
	    !shows_zeros(img, off, all.off) || !shows_zeros(img, disk_end, end))
		return rc;
	if (img->geo.extended_l2)
		return zero_subclusters(img, all, done, err);
	*done = true;
	return change_clusters(img, all.end, all.off, zero_cluster, flags, err);
}

/* Writes zeros into part of a cluster that is in flight. */
static int write_zeros_part(struct image *img, uint64_t end, uint64_t off,
			    unsigned flags, struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct iov_cursor src;
	struct iovec iov;
	bool done;
	int rc;

	end = min_u64(end, img->virtual_size);
	if (off >= end)
		return 0;
	rc = reads_zero(img, end - off, off, &done, err);
	if (rc == 0 && !done)
		rc = zero_around_clusters(img, end, off, flags, &done, err);
	if (rc < 0 || done)
		return rc;
	if (flags & QCOW2_ZERO_NO_FALLBACK)
		return error_set(err, -ENOTSUP,
				 "part of a cluster cannot become zeros "
				 "without writing");
	buf = alloc_zeroed(1, end - off);
	if (!buf)
		return error_nomem(err, "zeros", end - off);
	iov = (struct iovec){ buf, to_size(end - off) };
	src = iov_cursor_init(&iov, 1);
	return write_in_flight(img, &src, end - off, off, err);
}

/* Whole subclusters of one cluster by their bits, the edges written.  Of a
 * compressed cluster the other subclusters have to be written too. */
static int zero_sub_range(struct image *img, uint64_t end, uint64_t off,
			  struct sub_range whole, unsigned flags,
			  struct qcow2_error *err)
{
	bool done;
	int rc = zero_subclusters(img, whole, &done, err);

	if (rc == 0 && !done) {
		rc = write_zeros_part(img, end, off, flags, err);
		return rc < 0 ? rc : zero_subclusters(img, whole, &done, err);
	}
	if (rc == 0 && off < whole.off)
		rc = write_zeros_part(img, whole.off, off, flags, err);
	if (rc == 0 && whole.end < end)
		rc = write_zeros_part(img, end, whole.end, flags, err);
	return rc;
}

/* Part of one cluster. */
static int zero_part(struct image *img, uint64_t end, uint64_t off,
		     unsigned flags, struct qcow2_error *err)
{
	uint64_t unit = UINT64_C(1) << img->geo.subcluster_bits;
	struct sub_range whole = { align_up(off, unit), align_down(end, unit) };

	if (img->geo.extended_l2 && whole.off < whole.end)
		return zero_sub_range(img, end, off, whole, flags, err);
	return write_zeros_part(img, end, off, flags, err);
}

/* Clusters of a data file stay where they are, so nobody frees their space.  It
 * can go at once: before the entries are durable it shows the same zeros, and
 * after them nobody looks.  A failure costs space and nothing else. */
static void unmap_data_file(struct image *img, uint64_t end, uint64_t off,
			    unsigned flags)
{
	end = min_u64(end, img->virtual_size);
	if (img->geo.has_data_file && (flags & QCOW2_ZERO_MAY_UNMAP) &&
	    img->writer->policy.request && off < end)
		store_zero(img->data, end - off, off,
			   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK, NULL);
}

static int zero_whole(struct image *img, uint64_t end, uint64_t off,
		      unsigned flags, struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	int rc = 0;

	if (can_flag(img, off)) {
		rc = change_clusters(img, end, off, zero_cluster, flags, err);
		if (rc == 0)
			unmap_data_file(img, end, off, flags);
		return rc;
	}
	for (; rc == 0 && off < end; off += cluster)
		rc = write_zeros_part(img, off + cluster, off, flags, err);
	return rc;
}

/* A raw data file must read like the disk, and its readers see no flags: there
 * the zeros themselves are all that changes, so that no crash can come between
 * two changes. */
static int zero_data_file(struct image *img, uint64_t end, uint64_t off,
			  unsigned flags, struct qcow2_error *err)
{
	int rc;

	end = min_u64(end, img->virtual_size);
	if (off >= end)
		return 0;
	rc = commit_check(&img->writer->commit, err);
	return rc < 0 ? rc
		      : store_zero(img->data, end - off, off,
				   store_zero_flags(flags), err);
}

static int zero_parts(struct image *img, uint64_t end, uint64_t off,
		      unsigned flags, struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	uint64_t first, last;
	int rc = 0;

	/* The last cluster counts as whole when the disk ends in it, as it does
	 * until the range is left. */
	if (end == img->virtual_size)
		end = align_up(end, cluster);
	first = min_u64(align_up(off, cluster), end);
	last = max_u64(align_down(end, cluster), first);
	if (img->geo.data_file_raw)
		return zero_data_file(img, end, off, flags, err);
	if (off < first)
		rc = zero_part(img, first, off, flags, err);
	if (rc == 0 && first < last)
		rc = zero_whole(img, last, first, flags, err);
	if (rc == 0 && last < end)
		rc = zero_part(img, end, last, flags, err);
	return rc;
}

int image_zero(struct image *img, uint64_t len, uint64_t off, unsigned flags,
	       struct qcow2_error *err)
{
	return change_regions(img, off + len, off, zero_parts, flags, err);
}
