/*
 * Opening an image: header, extensions and small tables are read and held
 * against the rules, in the order in which later ones depend on earlier ones.
 * Nothing is trusted before it was checked, nothing is changed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "format/fault_error.h"
#include "image/image.h"
#include "image/open_header.h"
#include "image/rw.h"
#include "store/store.h"

static uint64_t metadata_budget(const struct qcow2_open_opts *opts)
{
	return opts->budget.metadata_bytes ? opts->budget.metadata_bytes
					   : METADATA_BYTES_DEFAULT;
}

static int check_encryption(struct image *img, struct qcow2_error *err)
{
	if (img->metadata_only || !image_is_encrypted(img))
		return 0;
	return error_set(err, -ENOTSUP,
			 "the image is encrypted (%s): this version reads its "
			 "metadata only",
			 img->header.crypt_method == CRYPT_AES ? "AES"
							       : "LUKS");
}

static int check_budget(const struct image *img,
			const struct qcow2_open_opts *opts,
			struct qcow2_error *err)
{
	uint64_t l1_bytes = (uint64_t)img->header.l1_size * L1_ENTRY_BYTES;

	if (opts->budget.virtual_bytes &&
	    img->header.size > opts->budget.virtual_bytes)
		return error_set(err, -E2BIG,
				 "the virtual size is %" PRIu64
				 ", the budget allows %" PRIu64,
				 img->header.size, opts->budget.virtual_bytes);
	if (l1_bytes + img->names.cluster0_len > metadata_budget(opts))
		return error_set(err, -E2BIG,
				 "the L1 table takes %" PRIu64
				 " bytes, the metadata budget allows %" PRIu64,
				 l1_bytes, metadata_budget(opts));
	return 0;
}

static int open_map(struct image *img, const struct qcow2_open_opts *opts,
		    struct qcow2_error *err)
{
	struct map_source source = { img->header.l1_off, img->header.l1_size };
	const struct snapshot_info *s;
	int rc;

	img->virtual_size = img->header.size;
	/* Who asks for the map is told. */
	if (img->lacks & QCOW2_LACKS_L1_TABLE)
		source = (struct map_source){ 0 };
	if (opts->snapshot) {
		if (img->snapshots.why.code)
			return snapshots_unreadable(&img->snapshots, err);
		s = snapshots_find(&img->snapshots, opts->snapshot);
		if (!s)
			return error_set(err, -ENOENT,
					 "there is no snapshot with the id or "
					 "name \"%s\"",
					 TEXT(opts->snapshot,
					      strlen(opts->snapshot)));
		rc = snapshot_check_view(&img->geo, s, img->file_size, err);
		if (rc < 0)
			return rc;
		source = (struct map_source){ s->l1_off, s->l1_size };
		img->virtual_size = s->disk_size;
	}
	return map_open(&img->map, &img->geo, img->file, &source, opts, err);
}

/* A damaged table hides the snapshots, and nothing else. */
static int open_snapshots(struct image *img, const struct qcow2_open_opts *opts,
			  struct qcow2_error *err)
{
	struct snapshots *s = &img->snapshots;
	struct qcow2_error why;
	int rc = snapshots_open(s, &img->header, img->file, img->file_size,
				metadata_budget(opts), &why);

	if (rc == 0)
		return 0;
	if (!why.defect) {
		if (err)
			*err = why;
		return rc;
	}
	snapshots_release(s);
	s->why = why;
	img->lacks |= QCOW2_LACKS_SNAPSHOT_TABLE;
	return 0;
}

static int open_tables(struct image *img, const struct extensions *x,
		       const struct qcow2_open_opts *opts,
		       struct qcow2_error *err)
{
	int rc = open_snapshots(img, opts, err);

	if (rc == 0)
		rc = bitmaps_open(&img->bitmaps, &img->geo, &img->header, x,
				  img->file, img->file_size, err);
	if (rc == 0 && img->bitmaps.defect)
		img->lacks |= QCOW2_LACKS_BITMAP_DIRECTORY;
	img->luks.present = x->has_crypto;
	img->luks.area = x->crypto;
	if (rc == 0)
		rc = open_map(img, opts, err);
	return rc;
}

static int open_all(struct image *img, const struct qcow2_open_opts *opts,
		    struct qcow2_error *err)
{
	struct extensions x;
	int rc = store_size(img->file, &img->file_size, err);

	if (rc == 0)
		rc = open_header(img, &x, err);
	if (rc == 0)
		rc = check_encryption(img, err);
	if (rc == 0)
		rc = check_budget(img, opts, err);
	if (rc < 0)
		return rc;
	geometry_init(&img->geo, &img->header);
	compressed_reader_init(&img->compressed, img->file,
			       img->geo.cluster_size,
			       img->header.compression_type == COMPRESSION_ZSTD
				       ? CODEC_ZSTD
				       : CODEC_ZLIB);
	rc = open_tables(img, &x, opts, err);
	if (rc == 0 && !img->geo.has_data_file) {
		img->data = store_ref(img->file);
		img->data_size = img->file_size;
	}
	return rc;
}

int image_open(struct qcow2_store *file, const struct qcow2_open_opts *opts,
	       struct image **out, struct qcow2_error *err)
{
	struct image *img = calloc(1, sizeof(*img));
	int rc;

	if (!img)
		return error_nomem(err, "the image", sizeof(*img));
	preallocated_init(&img->preallocated);
	pthread_mutex_init(&img->list_lock, NULL);
	img->file = store_ref(file);
	img->metadata_only = opts->flags & QCOW2_OPEN_METADATA_ONLY;
	/* Mapping works without the data file; only its size is unknown. */
	img->data_size = INT64_MAX;
	rc = open_all(img, opts, err);
	if (rc < 0) {
		image_close(img, NULL);
		return error_prefix(err, rc, "%s",
				    TEXT(store_name(file),
					 strlen(store_name(file))));
	}
	*out = img;
	return 0;
}

/*
 * In a child of the process that opened the image.  Its tables and what they
 * hold may have been changing while the process was forked, so nobody walks
 * through them again: they stay the copy that they are.
 */
static void abandon(struct image *img)
{
	store_unref(img->data);
	store_unref(img->file);
	free(img);
}

int image_close(struct image *img, struct qcow2_error *err)
{
	int rc = 0;

	if (!img)
		return 0;
	if (!store_is_here(img->file)) {
		abandon(img);
		return 0;
	}
	if (img->rw)
		rc = rw_close(img, err);
	map_release(&img->map);
	bitmaps_release(&img->bitmaps);
	snapshots_release(&img->snapshots);
	if (img->compressed.cluster_size)
		compressed_reader_release(&img->compressed);
	names_release(&img->names);
	preallocated_release(&img->preallocated);
	pthread_mutex_destroy(&img->list_lock);
	store_unref(img->data);
	store_unref(img->file);
	free(img);
	return rc;
}

int image_attach_data(struct image *img, struct qcow2_store *data,
		      struct qcow2_error *err)
{
	int rc = store_size(data, &img->data_size, err);

	if (rc == 0)
		img->data = store_ref(data);
	return rc;
}

int image_split_holes(struct image *img, struct image_extent *extent,
		      bool *hole, struct qcow2_error *err)
{
	bool yes, is_data = true;
	int rc;

	*hole = false;
	if (extent->kind != SUBCLUSTER_NORMAL || !img->data ||
	    image_is_encrypted(img))
		return 0;
	rc = preallocated_detect(&img->preallocated, &img->geo, &img->header,
				 img->file, &yes, err);
	if (rc < 0 || !yes)
		return rc;
	rc = preallocated_extent(&img->preallocated, img->data, &extent->len,
				 extent->host_off, &is_data, err);
	*hole = rc == 0 && !is_data;
	return rc;
}
