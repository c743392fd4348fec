/*
 * Rewrites of the disk's own clusters before they move: clusters of zeros
 * become zero clusters, others become compressed.  Both are ordinary guest
 * writes of the existing data.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/zero.h"
#include "compact/compact.h"
#include "image/image.h"
#include "write/writer.h"

struct rewrite {
	struct image *img;
	const struct qcow2_compact_opts *opts;
	struct qcow2_compact_result *result;
	uint8_t *cluster;
	uint8_t *encoded;
};

static int make_zero(struct rewrite *w, uint64_t off, struct qcow2_error *err)
{
	struct image *img = w->img;
	uint64_t len = min_u64(img->geo.cluster_size, img->virtual_size - off);
	int rc = image_zero(img, len, off, QCOW2_ZERO_MAY_UNMAP, err);

	w->result->clusters_zeroed += rc == 0;
	return rc;
}

static int make_compressed(struct rewrite *w, uint64_t off,
			   struct qcow2_error *err)
{
	size_t n;
	int rc = image_encode(w->img, w->encoded, w->cluster, &n, err);

	/* Room is found by the sector. */
	if (rc < 0 || n == 0 ||
	    align_up(n, SECTOR_BYTES) >= w->img->geo.cluster_size)
		return rc;
	rc = image_write_encoded(w->img, w->encoded, n, w->cluster, off, err);
	w->result->clusters_compressed += rc == 0;
	return rc;
}

/* 1 when the disk alone holds the cluster; 0 when a snapshot does too: it would
 * keep the old one, and nothing would be won. */
static int rewrite_is_own(const struct image *img, uint64_t host_off,
			  struct qcow2_error *err)
{
	uint64_t count;
	int rc;

	if (img->geo.has_data_file)
		return 1;
	rc = refcounts_get(&img->writer->refs,
			   host_off >> img->geo.cluster_bits, &count, err);
	return rc < 0 ? rc : count == 1;
}

/* One whole cluster of data that lies in this image. */
static int rewrite_cluster(struct rewrite *w, const struct image_extent *x,
			   uint64_t off, struct qcow2_error *err)
{
	uint32_t size = w->img->geo.cluster_size;
	struct iovec iov = { w->cluster, size };
	struct iov_cursor dst = iov_cursor_init(&iov, 1);
	int rc = rewrite_is_own(w->img, x->host_off, err);

	if (rc <= 0)
		return rc;
	rc = image_read(w->img, &dst, min_u64(size, x->len), off, x, 0, err);
	if (rc < 0)
		return rc;
	if (x->len < size)
		memset(w->cluster + x->len, 0, to_size(size - x->len));
	if ((w->opts->flags & QCOW2_COMPACT_ZEROS) && is_zero(w->cluster, size))
		return make_zero(w, off, err);
	return w->opts->flags & QCOW2_COMPACT_COMPRESS
		       ? make_compressed(w, off, err)
		       : 0;
}

static int rewrite_extent(struct rewrite *w, const struct image_extent *x,
			  uint64_t off, struct qcow2_error *err)
{
	uint32_t size = w->img->geo.cluster_size;
	struct image_extent part = *x;
	int rc = 0;

	if (x->kind != SUBCLUSTER_NORMAL)
		return 0;
	/* The first cluster may have begun with something else. */
	while (rc == 0 && part.len) {
		uint64_t to_next = size - (off & (size - 1));
		bool whole = to_next == size &&
			     (part.len >= size ||
			      off + part.len == w->img->virtual_size);

		if (whole)
			rc = rewrite_cluster(w, &part, off, err);
		to_next = min_u64(to_next, part.len);
		off += to_next;
		part.host_off += to_next;
		part.len -= to_next;
	}
	return rc;
}

static int rewrite_disk(struct rewrite *w, struct qcow2_error *err)
{
	struct image *img = w->img;
	uint64_t off = 0;

	while (off < img->virtual_size) {
		struct image_extent x;
		int rc = image_map(img, img->virtual_size - off, off, 0, &x,
				   err);

		if (rc == 0)
			rc = rewrite_extent(w, &x, off, err);
		if (rc == 0 && w->opts->progress &&
		    w->opts->progress(w->opts->opaque, off, img->virtual_size))
			rc = error_set(err, -ECANCELED,
				       "compaction was stopped");
		if (rc < 0)
			return rc;
		off += x.len;
	}
	return 0;
}

/* No guest byte changes: the bitmaps stay as true as they are. */
static int rewrite_behind_bitmaps(struct rewrite *w, struct qcow2_error *err)
{
	_Atomic bool *valid = &w->img->writer->bitmaps_valid;
	bool was_valid = atomic_exchange(valid, false);
	int rc = rewrite_disk(w, err);

	atomic_store(valid, was_valid);
	return rc;
}

int compact_rewrite(struct image *img, const struct qcow2_compact_opts *opts,
		    struct qcow2_compact_result *result,
		    struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;
	CLEANUP_FREE uint8_t *cluster = NULL;
	CLEANUP_FREE uint8_t *encoded = NULL;
	struct rewrite w = { .img = img, .opts = opts, .result = result };
	uint32_t level;
	int rc;

	if (!(opts->flags & (QCOW2_COMPACT_ZEROS | QCOW2_COMPACT_COMPRESS)))
		return 0;
	w.cluster = cluster = malloc(size);
	w.encoded = encoded = malloc(size);
	if (!cluster || !encoded)
		return error_nomem(err, "rewriting clusters", 2 * size);
	/* It is not the level of the caller's own writes. */
	rc = image_set_level(img, opts->compress_level, &level, err);
	if (rc < 0)
		return rc;
	rc = rewrite_behind_bitmaps(&w, err);
	image_set_level(img, level, NULL, NULL);
	return rc;
}
