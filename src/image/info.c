#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "image/image.h"
#include "store/hold.h"
#include "store/store.h"

/* A writer changes bits of the header while it is open. */
static struct header header_now(struct image *img)
{
	SCOPED_LOCK(&img->header_lock);
	return img->header;
}

bool image_is_marked_corrupt(struct image *img)
{
	return header_now(img).incompatible_features & INCOMPAT_CORRUPT;
}

static void get_header(struct image *img, struct qcow2_info *out)
{
	struct header h = header_now(img);

	out->compression = h.compression_type == COMPRESSION_ZSTD
				   ? QCOW2_COMPRESSION_ZSTD
				   : QCOW2_COMPRESSION_ZLIB;
	out->encryption = (enum qcow2_encryption)h.crypt_method;
	out->incompatible_features = h.incompatible_features;
	out->compatible_features = h.compatible_features;
	out->autoclear_features = h.autoclear_features;
	out->dirty = (h.incompatible_features & INCOMPAT_DIRTY) != 0;
	out->corrupt = (h.incompatible_features & INCOMPAT_CORRUPT) != 0;
	out->lazy_refcounts = (h.compatible_features & COMPAT_LAZY_REFCOUNTS) !=
			      0;
	out->extended_l2 = img->geo.extended_l2;
	out->has_data_file = img->geo.has_data_file;
	out->data_file_raw = img->geo.data_file_raw;
}

static uint32_t snapshots_now(struct image *img)
{
	SCOPED_LOCK(&img->list_lock);

	return img->snapshots.n;
}

int image_get_snapshot(struct image *img, uint32_t index,
		       struct snapshot_info *out, struct qcow2_error *err)
{
	SCOPED_LOCK(&img->list_lock);

	if (img->snapshots.why.code)
		return snapshots_unreadable(&img->snapshots, err);
	if (index >= img->snapshots.n)
		return error_set(err, -EINVAL,
				 "there is no snapshot number %" PRIu32, index);
	*out = img->snapshots.list[index];
	return 0;
}

int image_copy_snapshots(struct image *img, struct snapshots *out,
			 struct qcow2_error *err)
{
	SCOPED_LOCK(&img->list_lock);

	if (img->snapshots.why.code)
		return snapshots_unreadable(&img->snapshots, err);
	return snapshots_copy(out, &img->snapshots, err);
}

void image_get_info(struct image *img, struct qcow2_info *out)
{
	out->format = QCOW2_FORMAT_QCOW2;
	out->version = img->geo.version;
	out->virtual_size = img->virtual_size;
	if (store_size(img->file, &out->file_size, NULL) < 0)
		out->file_size = img->sizes.file;
	if (store_allocated(img->file, &out->allocated_bytes, NULL) < 0)
		out->allocated_bytes = out->file_size;
	out->cluster_size = img->geo.cluster_size;
	out->refcount_bits = img->geo.refcount_bits;
	get_header(img, out);
	out->self_contained = !img->names.backing_file &&
			      !img->geo.has_data_file &&
			      !(img->lacks & QCOW2_LACKS_NAMES);
	out->lacks = img->lacks;
	out->unlocked = store_is_unlocked(img->file) ||
			(img->data && store_is_unlocked(img->data));
	out->n_snapshots = snapshots_now(img);
	out->n_bitmaps = img->bitmaps.n;
	out->filename = store_name(img->file);
	out->backing_file = img->names.backing_file;
	out->backing_format = img->names.backing_format;
	out->data_file = img->names.data_file;
}

void image_get_stats(const struct image *img, struct qcow2_stats *out)
{
	store_get_stats(img->file, &out->file);
	if (img->data && img->data != img->file)
		store_get_stats(img->data, &out->data_file);
	cache_get_stats(&img->map.l2, &out->l2_cache);
	out->decompressed_clusters = atomic_load_explicit(
		&img->compressed.n_decodes, memory_order_relaxed);
}
