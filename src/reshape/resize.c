/*
 * Growing the disk (O14), and the parts common to both directions.
 *
 * The area beyond the old end is made to read as zeros first: it can show a
 * longer backing file, the rest of the last cluster, and anything that a larger
 * disk or VM state left in the tables.  All of it is durable before the one
 * sector of the header that has the size.
 *
 * Others read and write meanwhile, up to the end that they know.  Writers are
 * kept out while the L1 table and img->virtual_size become larger; after that
 * the new area is like a range that the resize writes to, and nobody else.
 */
#include "reshape/resize.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "image/image.h"
#include "reshape/bitmaps.h"
#include "reshape/header_cluster.h"
#include "store/store.h"
#include "write/change.h"
#include "write/entry.h"
#include "write/header_sector.h"
#include "write/l1_grow.h"
#include "write/write.h"
#include "write/writer.h"

/* L2 tables that are changed between two looks at how much is dirty. */
enum { TABLES_AT_ONCE = 16 };

/* ---- What is refused ----------------------------------------------------- */

static int reshape_resize_check_size(const struct image *img, uint64_t size,
				     struct qcow2_error *err)
{
	uint64_t max = geometry_size_max(img->geo.cluster_bits,
					 img->geo.l2_entry_bytes);

	if (size % SECTOR_BYTES)
		return error_set(err, -EINVAL,
				 "the new size must be a multiple of 512");
	if (size > max)
		return error_set(err, -EFBIG,
				 "size is %" PRIu64 " bytes, the limit with "
				 "clusters of %" PRIu32 " bytes is %" PRIu64,
				 size, img->geo.cluster_size, max);
	return 0;
}

/* A snapshot of version 2 need not say how large its disk was. */
static int reshape_resize_check_snapshots(const struct image *img,
					  uint32_t version,
					  struct qcow2_error *err)
{
	if (version >= 3 || img->header.n_snapshots == 0)
		return 0;
	return error_set(err, -ENOTSUP,
			 "can't resize a v2 image which has snapshots: they do "
			 "not record their size");
}

int resize_check_opts(const struct qcow2_resize_opts *opts, uint64_t size,
		      uint64_t old, struct qcow2_error *err)
{
	if (size >= old)
		return 0;
	if (!(opts->flags & QCOW2_RESIZE_SHRINK))
		return error_set(err, -EINVAL,
				 "the new size is smaller: what lies beyond it "
				 "would be lost, which has to be allowed");
	if (opts->preallocation != QCOW2_PREALLOC_OFF)
		return error_set(err, -EINVAL,
				 "preallocation can only be used for growing "
				 "images");
	return 0;
}

int image_resize_check(const struct image *img, uint64_t size,
		       const struct qcow2_resize_opts *opts, uint32_t version,
		       struct qcow2_error *err)
{
	int rc = reshape_resize_check_size(img, size, err);

	if (rc == 0)
		rc = resize_check_opts(opts, size, img->virtual_size, err);
	if (rc == 0)
		rc = reshape_resize_check_snapshots(img, version, err);
	return rc < 0 ? rc : bitmaps_resize_check(img, size, err);
}

/* ---- The new area -------------------------------------------------------- */

static struct change clear_cluster(const struct image *img, struct l2_entry old,
				   uint64_t guest_off, unsigned flags)
{
	bool below = !entry_below_is_zero(img, guest_off);
	struct change change = { .frees = true };

	(void)flags;
	if (below && img->geo.extended_l2)
		change.entry.bitmap = SUB_ALL_ZERO;
	else if (below)
		change.entry.desc = L2_ZERO;
	change.skip = old.desc == change.entry.desc &&
		      old.bitmap == change.entry.bitmap;
	return change;
}

/* Whole clusters; with version 2, only where nothing shines through. */
static int clear_clusters(struct image *img, uint64_t end, uint64_t off,
			  struct qcow2_error *err)
{
	uint64_t step = TABLES_AT_ONCE * geometry_l2_reach(&img->geo);
	int rc = 0;

	while (rc == 0 && off < end) {
		uint64_t stop = min_u64(end, align_down(off + step, step));

		rc = change_clusters(img, stop, off, clear_cluster, 0, err);
		if (rc == 0 && commit_wanted(&img->writer->commit))
			rc = image_flush(img, err);
		off = stop;
	}
	return rc;
}

/* Version 2 has no zero clusters: written zeros cover the part that the backing
 * file would show. */
static int cover_below(struct image *img, uint64_t end, uint64_t *off,
		       struct qcow2_error *err)
{
	uint64_t below = img->writer->below.read ? img->writer->below.size : 0;
	uint64_t stop = min_u64(end, align_up(below, img->geo.cluster_size));
	uint64_t from = *off;

	if (img->geo.version >= 3 || stop <= from)
		return 0;
	*off = stop;
	return image_zero(img, min_u64(stop, img->virtual_size) - from, from,
			  WRITE_UNSEEN, err);
}

/* The rest of the last cluster of the old disk. */
static int reshape_resize_zero_rest(struct image *img, uint64_t end,
				    uint64_t off, enum qcow2_preallocation mode,
				    struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *zeros = NULL;
	struct iovec iov;

	if (off == end)
		return 0;
	if (mode == QCOW2_PREALLOC_OFF)
		return image_zero(img, end - off, off, WRITE_UNSEEN, err);
	/* Written, so that it has a place. */
	zeros = alloc_zeroed(1, end - off);
	if (!zeros)
		return error_nomem(err, "zeros to write", end - off);
	iov = (struct iovec){ zeros, to_size(end - off) };
	return image_pwritev(img, &iov, 1, off, WRITE_UNSEEN, err);
}

static int make_zeros(struct image *img, uint64_t old,
		      enum qcow2_preallocation mode, struct qcow2_error *err)
{
	uint64_t off = align_up(old, img->geo.cluster_size);
	uint64_t end = align_up(img->virtual_size, img->geo.cluster_size);
	int rc = reshape_resize_zero_rest(img, min_u64(off, img->virtual_size),
					  old, mode, err);

	if (rc == 0 && off < end)
		rc = cover_below(img, end, &off, err);
	if (rc == 0 && off < end)
		rc = clear_clusters(img, end, off, err);
	return rc;
}

/* An external data file has the size of the disk at least, and zeros where
 * entries will map it. */
static int grow_data_file(struct image *img, uint64_t size, uint64_t old,
			  const struct qcow2_resize_opts *opts,
			  struct qcow2_error *err)
{
	enum qcow2_preallocation mode = opts->preallocation;
	uint64_t now;
	int rc;

	if (!img->geo.has_data_file)
		return 0;
	rc = store_size(img->data, &now, err);
	if (rc == 0 && now < size)
		rc = store_truncate(img->data, size, err);
	if (rc < 0 || mode == QCOW2_PREALLOC_OFF)
		return rc;
	if (mode != QCOW2_PREALLOC_METADATA)
		return resize_preallocate(img->data, size, old, opts, err);
	size = min_u64(now, size);
	return old < size ? store_preallocate(img->data, size - old, old, mode,
					      err)
			  : 0;
}

/* The space of a data file is what takes time, and its entries are not told of
 * then. */
static bool tells_entries(const struct image *img,
			  const struct qcow2_resize_opts *opts)
{
	return !img->geo.has_data_file ||
	       opts->preallocation == QCOW2_PREALLOC_METADATA;
}

/* Readers of a raw data file see what the guest sees only while every cluster
 * is mapped to its own offset. */
static enum qcow2_preallocation mode_of(const struct image *img,
					const struct qcow2_resize_opts *opts)
{
	if (img->geo.data_file_raw && opts->preallocation == QCOW2_PREALLOC_OFF)
		return QCOW2_PREALLOC_METADATA;
	return opts->preallocation;
}

static int fill_new_area(struct image *img, uint64_t old,
			 const struct qcow2_resize_opts *opts,
			 struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	struct qcow2_resize_opts own = *opts;
	int rc = make_zeros(img, old, opts->preallocation, err);

	if (!tells_entries(img, opts))
		own.progress = NULL;
	if (rc == 0 && opts->preallocation != QCOW2_PREALLOC_OFF)
		rc = image_preallocate(img,
				       align_up(img->virtual_size, cluster),
				       align_up(old, cluster), &own, err);
	return rc;
}

/* ---- The size ------------------------------------------------------------ */

static void reshape_resize_set_size(struct header *h, void *opaque)
{
	h->size = *(const uint64_t *)opaque;
}

static void set_size_and_bitmaps(struct header_cluster *to, void *opaque)
{
	const struct bitmaps_resize *b = opaque;

	to->header.size = b->size;
	to->bitmaps = &b->place;
}

static int write_size(struct image *img, struct bitmaps_resize *b,
		      struct qcow2_error *err)
{
	int rc;

	if (!b->changes)
		return header_sector_update(img, reshape_resize_set_size,
					    &b->size, err);
	rc = header_cluster_update(img, set_size_and_bitmaps, b, err);
	if (rc == 0)
		bitmaps_resize_done(b);
	return rc;
}

int resize_switch(struct image *img, uint64_t size, struct qcow2_error *err)
{
	struct bitmaps_resize b;
	int rc = bitmaps_resize_prepare(&b, img, size, err);

	if (rc == 0)
		rc = commit_flush(&img->writer->commit, err);
	if (rc == 0)
		rc = write_size(img, &b, err);
	bitmaps_resize_release(&b);
	return rc;
}

/* The size changes while nobody is in the cluster in which the disk ends. */
static int begin_growth(struct image *img, uint64_t size,
			struct qcow2_error *err)
{
	struct inflight_freeze freeze;
	int rc;

	inflight_freeze(&img->writer->inflight, &freeze);
	rc = l1_lengthen(img, geometry_l1_entries(&img->geo, size), err);
	if (rc == 0) {
		img->writer->size_seen = img->virtual_size;
		img->virtual_size = size;
	}
	inflight_thaw(&img->writer->inflight, &freeze);
	return rc;
}

/* Entries made beyond the end are no longer seen, and are cleared when the disk
 * grows again. */
static void undo_growth(struct image *img, uint64_t old)
{
	struct inflight_freeze freeze;

	inflight_freeze(&img->writer->inflight, &freeze);
	img->virtual_size = old;
	inflight_thaw(&img->writer->inflight, &freeze);
}

static int reshape_resize_grow(struct image *img, uint64_t size,
			       const struct qcow2_resize_opts *opts,
			       struct qcow2_error *err)
{
	struct qcow2_resize_opts own = *opts;
	uint64_t old = img->virtual_size;
	int rc;

	own.preallocation = mode_of(img, opts);
	rc = grow_data_file(img, size, old, &own, err);
	if (rc == 0)
		rc = begin_growth(img, size, err);
	if (rc < 0)
		return rc;
	rc = fill_new_area(img, old, &own, err);
	if (rc == 0)
		rc = resize_switch(img, size, err);
	if (rc < 0)
		undo_growth(img, old);
	img->writer->size_seen = 0;
	return rc;
}

/* Snapshots, and the proof of refcounts, see the disk before or after. */
static int grow_alone(struct image *img, uint64_t size,
		      const struct qcow2_resize_opts *opts,
		      struct qcow2_error *err)
{
	SCOPED_LOCK(&img->writer->snapshot_lock);
	int rc = image_resize_check(img, size, opts, img->geo.version, err);

	return rc < 0 ? rc : reshape_resize_grow(img, size, opts, err);
}

int image_resize(struct image *img, uint64_t size,
		 const struct qcow2_resize_opts *opts, struct qcow2_error *err)
{
	bool grows = size > img->virtual_size;
	int rc = image_resize_check(img, size, opts, img->geo.version, err);

	if (rc < 0 || size == img->virtual_size)
		return rc;
	rc = grows ? proof_make(img, err) : proof_require(img, err);
	if (rc < 0)
		return rc;
	return grows ? grow_alone(img, size, opts, err)
		     : image_shrink(img, size, err);
}
