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
#include "store/store.h"

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

/* The tables whose size the header says, before any of them is read. */
static int take_tables(struct image *img, const struct qcow2_open_opts *opts,
		       struct qcow2_error *err)
{
	struct metadata_budget *b = &img->budget;
	const struct header *h = &img->header;
	int rc = metadata_budget_take(b, img->names.cluster0_len,
				      "the header cluster", err);

	if (rc == 0 && !(img->lacks & QCOW2_LACKS_L1_TABLE))
		rc = metadata_budget_take(b,
					  (uint64_t)h->l1_size * L1_ENTRY_BYTES,
					  "the L1 table", err);
	if (rc == 0 && (opts->flags & QCOW2_OPEN_RDWR))
		rc = metadata_budget_take(b,
					  (uint64_t)h->refcount_table_clusters
						  << h->cluster_bits,
					  "the refcount table", err);
	return rc;
}

/* Neither cache works with less than two slices. */
static int check_caches(const struct image *img, struct qcow2_error *err)
{
	uint64_t least =
		8 * min_u64(L2_SLICE_BYTES_DEFAULT, img->geo.cluster_size);

	if (metadata_budget_left(&img->budget) >= least)
		return 0;
	return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
			    "the tables take %" PRIu64
			    " bytes and the caches %" PRIu64 " at least, the "
			    "budget (metadata_bytes, or the share of "
			    "total_bytes) allows %" PRIu64,
			    img->budget.taken, least, img->budget.limit);
}

static int check_budget(struct image *img, const struct qcow2_open_opts *opts,
			struct qcow2_error *err)
{
	img->budget = metadata_budget_of(&opts->budget);
	if (opts->budget.virtual_bytes &&
	    img->header.size > opts->budget.virtual_bytes)
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "the virtual size is %" PRIu64
				    ", the budget (virtual_bytes) %" PRIu64,
				    img->header.size,
				    opts->budget.virtual_bytes);
	return take_tables(img, opts, err);
}

static int open_map(struct image *img, const struct qcow2_open_opts *opts,
		    struct qcow2_error *err)
{
	struct map_source source = { .geo = &img->geo,
				     .sizes = &img->sizes,
				     .l1_off = img->header.l1_off,
				     .l1_size = img->header.l1_size };
	struct qcow2_open_opts own = *opts;
	const struct snapshot_info *s;
	int rc;

	img->virtual_size = img->header.size;
	/* Requests for the map report it. */
	if (img->lacks & QCOW2_LACKS_L1_TABLE)
		source.l1_off = source.l1_size = 0;
	if (opts->snapshot) {
		if (img->snapshots.why.code)
			return snapshots_unreadable(&img->snapshots, err);
		s = snapshots_find(&img->snapshots, opts->snapshot);
		if (!s)
			return error_set(
				err, -ENOENT,
				"there is no snapshot with the id or "
				"name \"%s\"",
				TEXT(opts->snapshot, strlen(opts->snapshot)));
		rc = snapshot_check_view(&img->geo, s, img->sizes.file, err);
		if (rc < 0)
			return rc;
		rc = metadata_budget_take(&img->budget,
					  (uint64_t)s->l1_size * L1_ENTRY_BYTES,
					  "the snapshot's L1 table", err);
		if (rc < 0)
			return rc;
		source.l1_off = s->l1_off;
		source.l1_size = s->l1_size;
		img->virtual_size = s->disk_size;
	}
	rc = check_caches(img, err);
	if (rc < 0)
		return rc;
	own.l2_cache_bytes = min_u64(own.l2_cache_bytes
					     ? own.l2_cache_bytes
					     : L2_CACHE_BYTES_DEFAULT,
				     metadata_budget_l2(&img->budget));
	return map_open(&img->map, img->file, &source, &own, err);
}

/* A damaged table hides the snapshots, and nothing else. */
static int open_snapshots(struct image *img, struct qcow2_error *err)
{
	struct snapshots *s = &img->snapshots;
	struct qcow2_error why;
	int rc = snapshots_open(s, &img->header, img->file, img->sizes.file,
				metadata_budget_left(&img->budget), &why);

	if (rc == 0)
		return metadata_budget_take(
			&img->budget, s->table_bytes + s->n * sizeof(*s->list),
			"the snapshot table", err);
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
	int rc = open_snapshots(img, err);

	if (rc == 0)
		rc = bitmaps_open(&img->bitmaps, &img->geo, &img->header, x,
				  img->file, img->sizes.file, &img->budget,
				  err);
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
	int rc = store_size(img->file, &img->sizes.file, err);

	if (rc == 0)
		rc = open_header(img, &x, err);
	img->encrypted = rc == 0 && img->header.crypt_method != CRYPT_NONE;
	if (rc == 0)
		rc = check_encryption(img, err);
	if (rc == 0)
		rc = check_budget(img, opts, err);
	if (rc < 0)
		return rc;
	geometry_init(&img->geo, &img->header);
	compressed_reader_init(
		&img->compressed, img->file, img->geo.cluster_size,
		img->header.compression_type == COMPRESSION_ZSTD ? CODEC_ZSTD
								 : CODEC_ZLIB);
	rc = open_tables(img, &x, opts, err);
	if (rc == 0 && !img->geo.has_data_file) {
		img->data = store_ref(img->file);
		img->sizes.data = img->sizes.file;
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
	holes_init(&img->holes);
	pthread_mutex_init(&img->list_lock, NULL);
	pthread_mutex_init(&img->header_lock, NULL);
	img->file = store_ref(file);
	img->metadata_only = opts->flags & QCOW2_OPEN_METADATA_ONLY;
	/* Mapping works without the data file; only its size is unknown. */
	img->sizes.data = INT64_MAX;
	rc = open_all(img, opts, err);
	if (rc < 0) {
		image_close(img);
		return error_prefix(
			err, rc, "%s",
			TEXT(store_name(file), strlen(store_name(file))));
	}
	VALIDATE(image, img);
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

void image_close(struct image *img)
{
	if (!img)
		return;
	if (!store_is_here(img->file)) {
		abandon(img);
		return;
	}
	map_release(&img->map);
	bitmaps_release(&img->bitmaps);
	snapshots_release(&img->snapshots);
	if (img->compressed.cluster_size)
		compressed_reader_release(&img->compressed);
	names_release(&img->names);
	holes_release(&img->holes);
	pthread_mutex_destroy(&img->list_lock);
	pthread_mutex_destroy(&img->header_lock);
	store_unref(img->data);
	store_unref(img->file);
	free(img);
}

uint64_t image_file_end(const struct image *img)
{
	return image_sizes_file_end(&img->sizes);
}

uint64_t image_data_end(const struct image *img)
{
	if (!img->geo.has_data_file)
		return image_file_end(img);
	/* A data file that is written to grows as it is needed. */
	return img->writer ? INT64_MAX : img->sizes.data;
}

int image_attach_data(struct image *img, struct qcow2_store *data,
		      struct qcow2_error *err)
{
	int rc = store_size(data, &img->sizes.data, err);

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
	rc = holes_detect(&img->holes, &img->geo, &img->header, img->file, &yes,
			  err);
	if (rc < 0 || !yes)
		return rc;
	rc = holes_extent(&img->holes, img->data, &extent->len,
			  extent->host_off, &is_data, err);
	*hole = rc == 0 && !is_data;
	return rc;
}
