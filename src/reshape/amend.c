#include "reshape/amend.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "image/image.h"
#include "reshape/header_cluster.h"
#include "reshape/resize.h"
#include "write/features.h"
#include "write/header_sector.h"
#include "write/writer.h"

int amend_progress_add(struct amend_progress *p, uint64_t n,
		       struct qcow2_error *err)
{
	assert(p->done <= p->total);
	p->done = min_u64(p->done + n, p->total);
	if (!p->fn || !p->fn(p->opaque, p->done, p->total))
		return 0;
	return error_set(err, -ECANCELED, "stopped by the caller");
}

/* ---- What is refused ----------------------------------------------------- */

static bool is_set(const struct qcow2_amend_opts *o, uint32_t what)
{
	return o->set & what;
}

static uint32_t version_after(const struct image *img,
			      const struct qcow2_amend_opts *o)
{
	return is_set(o, QCOW2_AMEND_VERSION) ? o->version : img->geo.version;
}

static uint32_t bits_after(const struct image *img,
			   const struct qcow2_amend_opts *o)
{
	return is_set(o, QCOW2_AMEND_REFCOUNT_BITS) ? o->refcount_bits
						    : img->geo.refcount_bits;
}

static int check_version(const struct image *img,
			 const struct qcow2_amend_opts *o,
			 struct qcow2_error *err)
{
	uint32_t version = version_after(img, o);
	uint32_t bits = bits_after(img, o);

	if (version != 2 && version != 3)
		return error_set(err, -EINVAL,
				 "version is %" PRIu32 ", must "
				 "be 2 (compat=0.10) or 3 (compat=1.1)",
				 version);
	if (bits == 0 || (bits & (bits - 1)) ||
	    bits > UINT32_C(1) << REFCOUNT_ORDER_MAX)
		return error_set(err, -EINVAL,
				 "refcount_bits is %" PRIu32
				 ", must be a power of two up to 64",
				 bits);
	if (version == 2 && bits != UINT32_C(1) << REFCOUNT_ORDER_V2)
		return error_set(err, -EINVAL,
				 "compat=0.10 requires refcount_bits=16");
	if (version == 2 && is_set(o, QCOW2_AMEND_LAZY_REFCOUNTS) &&
	    o->lazy_refcounts)
		return error_set(err, -EINVAL,
				 "lazy_refcounts needs version 3 (compat=1.1)");
	if (version > 2 || img->geo.version == 2)
		return 0;
	return amend_check_downgrade(
		img, is_set(o, QCOW2_AMEND_SIZE) ? o->size : img->header.size,
		err);
}

static int check_raw(const struct image *img, const struct qcow2_amend_opts *o,
		     struct qcow2_error *err)
{
	if (!is_set(o, QCOW2_AMEND_DATA_FILE_RAW) || !o->data_file_raw ||
	    img->geo.data_file_raw)
		return 0;
	return error_set(err, -EINVAL,
			 "data_file_raw cannot be set on existing images");
}

static int check_text(const char *what, const char *text, size_t max,
		      struct qcow2_error *err)
{
	size_t len = strlen(text);

	if (len && len <= max)
		return 0;
	return error_set(err, -EINVAL, "%s has %zu bytes, must have 1 to %zu",
			 what, len, max);
}

static int amend_check_backing(const struct image *img,
			       const struct qcow2_amend_opts *o,
			       struct qcow2_error *err)
{
	int rc;

	if (!is_set(o, QCOW2_AMEND_BACKING))
		return 0;
	if (!o->backing_file)
		return o->backing_format
			       ? error_set(err, -EINVAL,
					   "backing_format needs backing_file")
			       : 0;
	if (img->geo.data_file_raw)
		return error_set(err, -EINVAL,
				 "data_file_raw and backing_file exclude each "
				 "other");
	if (!o->backing_format)
		return error_set(err, -EINVAL,
				 "backing_file needs "
				 "backing_format: the format is never guessed");
	rc = check_text("backing_file", o->backing_file, BACKING_NAME_BYTES_MAX,
			err);
	return rc < 0 ? rc
		      : check_text("backing_format", o->backing_format,
				   BACKING_FORMAT_BYTES_MAX, err);
}

static struct qcow2_resize_opts resize_opts(const struct qcow2_amend_opts *o)
{
	struct qcow2_resize_opts resize = QCOW2_RESIZE_OPTS_INIT;

	if (o->flags & QCOW2_AMEND_SHRINK)
		resize.flags = QCOW2_RESIZE_SHRINK;
	return resize;
}

/* The size is changed when the version may have been changed already. */
static int amend_check_size(const struct image *img,
			    const struct qcow2_amend_opts *o,
			    struct qcow2_error *err)
{
	struct qcow2_resize_opts resize = resize_opts(o);
	uint32_t version = version_after(img, o) > img->geo.version
				   ? version_after(img, o)
				   : img->geo.version;

	if (!is_set(o, QCOW2_AMEND_SIZE))
		return 0;
	return image_resize_check(img, o->size, &resize, version, err);
}

static int amend_check(const struct image *img,
		       const struct qcow2_amend_opts *o,
		       struct qcow2_error *err)
{
	int rc = check_version(img, o, err);

	if (rc == 0)
		rc = check_raw(img, o, err);
	if (rc == 0)
		rc = amend_check_size(img, o, err);
	return rc < 0 ? rc : amend_check_backing(img, o, err);
}

/* ---- One after the other ------------------------------------------------- */

static int set_backing(struct image *img, const struct qcow2_amend_opts *o,
		       struct qcow2_error *err)
{
	struct header_cluster to = header_cluster_of(img);

	if (!is_set(o, QCOW2_AMEND_BACKING))
		return 0;
	to.backing_file = o->backing_file;
	to.backing_format = o->backing_format;
	return header_cluster_write(img, &to, err);
}

static int amend_set_size(struct image *img, const struct qcow2_amend_opts *o,
			  struct qcow2_error *err)
{
	struct qcow2_resize_opts resize = resize_opts(o);

	if (!is_set(o, QCOW2_AMEND_SIZE))
		return 0;
	return image_resize(img, o->size, &resize, err);
}

static void put_lazy(struct header *h, void *opaque)
{
	const uint32_t *on = opaque;

	h->compatible_features &= ~COMPAT_LAZY_REFCOUNTS;
	if (*on)
		h->compatible_features |= COMPAT_LAZY_REFCOUNTS;
}

static int set_lazy(struct image *img, const struct qcow2_amend_opts *o,
		    struct qcow2_error *err)
{
	uint32_t on = o->lazy_refcounts != 0;
	bool now = img->header.compatible_features & COMPAT_LAZY_REFCOUNTS;
	int rc;

	if (!is_set(o, QCOW2_AMEND_LAZY_REFCOUNTS) || now == (on != 0) ||
	    img->geo.version < 3)
		return 0;
	/* From the next opening on, unless they are late already. */
	rc = on ? 0 : commit_drain(&img->writer->commit, err);
	if (rc == 0 && !on)
		rc = features_end_dirty(img, DIRTY_LAZY | DIRTY_UNWRITTEN, err);
	if (rc == 0)
		rc = header_sector_update(img, put_lazy, &on, err);
	if (rc == 0 && !on)
		img->writer->commit.mark_dirty = NULL;
	return rc;
}

static int set_raw(struct image *img, const struct qcow2_amend_opts *o,
		   struct qcow2_error *err)
{
	int rc;

	if (!is_set(o, QCOW2_AMEND_DATA_FILE_RAW) || o->data_file_raw ||
	    !img->geo.data_file_raw)
		return 0;
	rc = features_change(
		img,
		(struct feature_change){ .clear_autoclear =
						 AUTOCLEAR_DATA_FILE_RAW },
		err);
	if (rc == 0)
		geometry_init(&img->geo, &img->header);
	return rc;
}

static int set_order(struct image *img, const struct qcow2_amend_opts *o,
		     struct amend_progress *p, struct qcow2_error *err)
{
	uint32_t bits = bits_after(img, o);

	if (bits == img->geo.refcount_bits)
		return 0;
	return amend_refcount_order(img, (uint32_t)__builtin_ctz(bits), p, err);
}

/* Version 3 comes first and version 2 last: all else needs the former. */
int image_amend(struct image *img, const struct qcow2_amend_opts *o,
		struct qcow2_error *err)
{
	uint32_t version = version_after(img, o);
	struct amend_progress p = { o->progress, o->opaque, 0, 1 };
	int rc = amend_check(img, o, err);

	if (rc == 0 && (version != img->geo.version ||
			bits_after(img, o) != img->geo.refcount_bits))
		rc = proof_require(img, err);
	if (rc == 0)
		rc = commit_drain(&img->writer->commit, err);
	if (rc == 0 && version >= 3 && img->geo.version < 3)
		rc = amend_upgrade(img, err);
	if (rc == 0)
		rc = set_raw(img, o, err);
	if (rc == 0)
		rc = amend_set_size(img, o, err);
	if (rc == 0)
		rc = set_order(img, o, &p, err);
	if (rc == 0)
		rc = set_lazy(img, o, err);
	if (rc == 0 && version < 3 && img->geo.version >= 3)
		rc = amend_downgrade(img, &p, err);
	/* The disk that was looked at so far is the one over the old file. */
	if (rc == 0)
		rc = set_backing(img, o, err);
	p.done = p.total;
	return rc < 0 ? rc : amend_progress_add(&p, 0, err);
}
