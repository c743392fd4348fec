#include "write/features.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "base/validate.h"
#include "image/image.h"
#include "write/header_sector.h"
#include "write/writer.h"

enum {
	DIRTY_REASONS = DIRTY_LAZY | DIRTY_OPERATION | DIRTY_UNWRITTEN |
			DIRTY_REPAIR,
};

void features_validate(const struct image *img)
{
	const struct header *h = &img->header;
	bool dirty = h->incompatible_features & INCOMPAT_DIRTY;

	assert(!(img->writer->dirty_reasons & ~(unsigned)DIRTY_REASONS));
	/* "The dirty bit is on the disk from the first begin to the last
	 * end". */
	assert(implies(h->version >= 3 && img->writer->dirty_reasons, dirty));
	assert(implies(h->version < 3,
		       !h->incompatible_features && !h->autoclear_features));
}

static void change_bits(struct header *h, void *opaque)
{
	const struct feature_change *c = opaque;

	h->incompatible_features &= ~c->clear_incompatible;
	h->incompatible_features |= c->set_incompatible;
	h->autoclear_features &= ~c->clear_autoclear;
}

static int change_locked(struct image *img, struct feature_change change,
			 struct qcow2_error *err)
{
	struct header now = img->header;

	assert(!(change.set_incompatible & change.clear_incompatible));
	VALIDATE(features, img);
	change_bits(&now, &change);
	if (now.version < 3 ||
	    (now.incompatible_features == img->header.incompatible_features &&
	     now.autoclear_features == img->header.autoclear_features))
		return header_sector_settle_locked(img, err);
	return header_sector_update_locked(img, change_bits, &change, err);
}

int features_change(struct image *img, struct feature_change change,
		    struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	return change_locked(img, change, err);
}

int features_mark_corrupt(struct image *img, int code)
{
	features_change(
		img,
		(struct feature_change){ .set_incompatible = INCOMPAT_CORRUPT },
		NULL);
	commit_poison(&img->writer->commit, code);
	return code;
}

int features_open(struct image *img, struct qcow2_error *err)
{
	uint64_t known = AUTOCLEAR_BITMAPS |
			 (img->geo.has_data_file ? AUTOCLEAR_DATA_FILE_RAW : 0);

	atomic_init(&img->writer->bitmaps_valid,
		    img->header.autoclear_features & AUTOCLEAR_BITMAPS);
	return features_change(
		img, (struct feature_change){ .clear_autoclear = ~known }, err);
}

bool features_allow_guest_change(const struct image *img)
{
	return !atomic_load_explicit(&img->writer->bitmaps_valid,
				     memory_order_acquire);
}

int features_before_guest_change(struct image *img, struct qcow2_error *err)
{
	struct writer *writer = img->writer;
	int rc;

	if (features_allow_guest_change(img))
		return 0;
	rc = features_change(
		img,
		(struct feature_change){ .clear_autoclear = AUTOCLEAR_BITMAPS },
		err);
	if (rc == 0)
		atomic_store_explicit(&writer->bitmaps_valid, false,
				      memory_order_release);
	return rc;
}

/* ---- The dirty bit ------------------------------------------------------- */

int features_begin_dirty(struct image *img, enum dirty_reason reason,
			 struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);
	int rc = change_locked(
		img,
		(struct feature_change){ .set_incompatible = INCOMPAT_DIRTY },
		err);

	if (rc == 0)
		img->writer->dirty_reasons |= reason;
	VALIDATE(features, img);
	return rc;
}

static void replace_operation(struct image *img, enum dirty_reason reason)
{
	SCOPED_LOCK(&img->header_lock);

	VALIDATE(features, img);
	img->writer->dirty_reasons &= ~(unsigned)DIRTY_OPERATION;
	img->writer->dirty_reasons |= reason;
}

void features_end_operation_later(struct image *img)
{
	replace_operation(img, DIRTY_UNWRITTEN);
}

void features_leave_to_repair(struct image *img)
{
	replace_operation(img, DIRTY_REPAIR);
}

bool features_is_unfinished(struct image *img)
{
	SCOPED_LOCK(&img->header_lock);

	return img->writer->dirty_reasons & DIRTY_OPERATION;
}

int features_end_dirty(struct image *img, unsigned reasons,
		       struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	VALIDATE(features, img);
	/* A repair that is still to be made stays marked. */
	assert(!(reasons & DIRTY_REPAIR));
	img->writer->dirty_reasons &= ~reasons;
	if (img->writer->dirty_reasons)
		return 0;
	return change_locked(
		img,
		(struct feature_change){ .clear_incompatible = INCOMPAT_DIRTY },
		err);
}
