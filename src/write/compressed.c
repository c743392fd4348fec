/*
 * Writing compressed clusters (O7, O8).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "compress/encode.h"
#include "image/image.h"
#include "store/store.h"
#include "write/entry.h"
#include "write/features.h"
#include "write/overlap.h"
#include "write/tables.h"
#include "write/write.h"
#include "write/writer.h"

static int link_compressed(struct image *img, uint64_t desc, uint64_t off,
			   struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	struct map_window w;
	struct l2_entry old;
	int rc = map_window_get(&img->map, off + img->geo.cluster_size, off, 0,
				&w, err);

	if (rc < 0)
		return rc;
	old = map_window_entry(&w, &img->geo, 0);
	rc = entry_check(img, old, off, err);
	if (rc == 0)
		rc = commit_begin(c, ENTRY_FREED_MAX, err);
	if (rc == 0) {
		commit_set_l2(c, w.slice, w.first,
			      (struct l2_entry){ desc, 0 });
		entry_free(img, old, img->writer->policy.other);
		commit_order(c);
		commit_end(c);
	}
	map_window_put(&img->map, &w);
	return rc;
}

int image_reserve_encoded(struct image *img, uint32_t len, uint64_t *host_off,
			  uint64_t *desc, struct qcow2_error *err)
{
	int rc = pack_reserve(&img->writer->pack, len, host_off, err);

	if (rc < 0)
		return rc;
	if (!compressed_encode(&img->geo, *host_off, len, desc))
		rc = error_set(err, -EFBIG,
			       "compressed clusters cannot be stored at host "
			       "offset %" PRIu64,
			       *host_off);
	if (rc == 0)
		rc = overlap_check(img, len, *host_off, err);
	if (rc < 0)
		pack_cancel(&img->writer->pack, len, *host_off);
	return rc;
}

/* @bytes: the cluster at @off, encoded. */
static int write_encoded(struct image *img, const void *bytes, uint32_t len,
			 uint64_t off, struct qcow2_error *err)
{
	uint64_t host_off, desc;
	int rc = tables_make(img, off, err);

	if (rc == 0)
		rc = image_reserve_encoded(img, len, &host_off, &desc, err);
	if (rc < 0)
		return rc;
	rc = store_pwrite(img->file, bytes, len, host_off, 0, err);
	compressed_forget(&img->compressed, len, host_off);
	if (rc == 0)
		rc = link_compressed(img, desc, off, err);
	if (rc < 0)
		pack_cancel(&img->writer->pack, len, host_off);
	return rc;
}

static int write_plain(struct image *img, const void *cluster, uint64_t len,
		       uint64_t off, struct qcow2_error *err)
{
	struct iovec iov = { (void *)(uintptr_t)cluster, to_size(len) };
	struct iov_cursor src = iov_cursor_init(&iov, 1);

	return write_in_flight(img, &src, len, off, err);
}

/* Whether [off, off+len), which is in flight, is all that the disk has of a
 * cluster.  It is not if the disk has grown since the caller looked. */
static bool is_whole(const struct image *img, uint64_t len, uint64_t off)
{
	return len == img->geo.cluster_size || off + len == img->virtual_size;
}

/* The first @part bytes of @cluster, @len bytes when encoded. */
static int put_cluster(struct image *img, const void *bytes, size_t len,
		       const void *cluster, uint64_t part, uint64_t off,
		       struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;
	struct inflight_range range;
	struct grace_ref ref;
	int rc = proof_before_change(img, size, 0, err);

	if (rc == 0)
		rc = features_before_guest_change(img, err);
	if (rc == 0)
		rc = commit_make_room(&img->writer->commit, err);
	if (rc < 0)
		return rc;
	ref = writer_grace_begin(img);
	inflight_enter(&img->writer->inflight, &range, off, off + size, true);
	if (len && is_whole(img, part, off))
		rc = write_encoded(img, bytes, (uint32_t)len, off, err);
	else
		rc = write_plain(img, cluster, part, off, err);
	inflight_leave(&img->writer->inflight, &range);
	writer_grace_end(ref);
	if (rc == 0 && commit_wanted(&img->writer->commit))
		rc = image_flush(img, err);
	return rc;
}

int image_write_encoded(struct image *img, const void *bytes, size_t len,
			const void *cluster, uint64_t off,
			struct qcow2_error *err)
{
	uint64_t part = min_u64(img->geo.cluster_size, img->virtual_size - off);

	return put_cluster(img, bytes, len, cluster, part, off, err);
}

static int check_request(const struct image *img, uint64_t len, uint64_t off,
			 struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;

	if (img->geo.has_data_file)
		return error_set(err, -ENOTSUP,
				 "an image with an external data file has no "
				 "compressed clusters");
	if (is_aligned(off, size) &&
	    (is_aligned(len, size) || off + len == img->virtual_size ||
	     off + len == img->writer->size_seen))
		return 0;
	return error_set(err, -EINVAL,
			 "compressed writes cover whole clusters of %" PRIu32
			 " bytes: %" PRIu64 " bytes at %" PRIu64 " do not",
			 size, len, off);
}

int image_encode(struct image *img, void *dst, const void *src, size_t *n,
		 struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;
	int rc = encoder_pool_encode(&img->writer->encoders, dst, size - 1, src,
				     size, n);

	return rc < 0 ? error_nomem(err, "compression", size) : 0;
}

int image_set_level(struct image *img, uint32_t level, uint32_t *old,
		    struct qcow2_error *err)
{
	int rc = encoder_check_level(img->header.compression_type, level, err);
	int before;

	if (rc < 0)
		return rc;
	before = encoder_pool_set_level(&img->writer->encoders, (int)level);
	if (old)
		*old = (uint32_t)before;
	return 0;
}

int image_write_compressed(struct image *img, const void *buf, uint64_t len,
			   uint64_t off, struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;
	CLEANUP_FREE uint8_t *cluster = malloc(size);
	CLEANUP_FREE uint8_t *encoded = malloc(size);
	int rc = check_request(img, len, off, err);

	if (rc == 0 && (!cluster || !encoded))
		rc = error_nomem(err, "compression", 2 * (uint64_t)size);
	for (uint64_t done = 0; rc == 0 && done < len; done += size) {
		uint64_t part = min_u64(size, len - done);
		size_t n;

		memcpy(cluster, (const uint8_t *)buf + done, to_size(part));
		memset(cluster + part, 0, to_size(size - part));
		rc = image_encode(img, encoded, cluster, &n, err);
		if (rc == 0)
			rc = put_cluster(img, encoded, n, cluster, part,
					 off + done, err);
	}
	return rc;
}
