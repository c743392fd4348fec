#include "write/features.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/mutant.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

/* ---- The sector --------------------------------------------------------------- */

static size_t encode_fixed_part(const struct image *img, uint8_t *buf)
{
	struct header h = img->header;
	size_t len;

	/* What later versions added behind it stays as it is on disk. */
	if (h.header_length > HEADER_LENGTH_V3) {
		h.tail_len -= h.header_length - HEADER_LENGTH_V3;
		h.header_length = HEADER_LENGTH_V3;
	}
	len = header_encode(&h, buf, HEADER_LENGTH_V3);
	assert(len);
	if (img->header.version >= 3)
		put_be32(buf + HEADER_OFF_HEADER_LENGTH,
			 img->header.header_length);
	return len;
}

static int write_and_wait(struct image *img, const uint8_t *buf, size_t len,
			  struct qcow2_error *err)
{
	int rc = store_pwrite(img->file, buf, len, 0, 0, err);

	if (rc == 0 && !MUTANT(no_header_barrier)) {
		rc = store_flush(img->file, err);
		/* Whatever the barrier was to make durable may be lost. */
		if (rc < 0)
			commit_poison(&img->rw->commit, rc);
	}
	img->rw->header_unsettled = rc < 0;
	return rc;
}

/* All of the sector: what failed may have changed more than the fixed part. */
int header_settle_locked(struct image *img, struct qcow2_error *err)
{
	uint8_t sector[SECTOR_BYTES];
	int rc;

	if (!img->rw->header_unsettled)
		return 0;
	rc = commit_check(&img->rw->commit, err);
	if (rc < 0)
		return rc;
	memcpy(sector, img->names.cluster0, sizeof(sector));
	encode_fixed_part(img, sector);
	return write_and_wait(img, sector, sizeof(sector), err);
}

int header_settle(struct image *img, struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	return header_settle_locked(img, err);
}

bool header_is_settled(struct image *img)
{
	SCOPED_LOCK(&img->header_lock);

	return !img->rw->header_unsettled;
}

/* The quarantine ends with a commit that has settled the header before. */
void header_unclaim(struct image *img, const struct claim *claim)
{
	struct commit *c = &img->rw->commit;

	if (header_is_settled(img)) {
		refcounts_unclaim(&img->rw->refs, claim);
	} else if (commit_begin(c, 1, NULL) == 0) {
		commit_free(c, (struct freed){ claim->host_off,
					       claim->n_clusters, false });
		commit_end(c);
	}
}

int header_first_sector_write(struct image *img,
			      const uint8_t sector[SECTOR_BYTES],
			      struct qcow2_error *err)
{
	int rc = write_and_wait(img, sector, SECTOR_BYTES, err);

	if (rc < 0)
		header_settle_locked(img, NULL);
	return rc;
}

/* Brings img->header to the disk, or *old back to both. */
static int write_changed(struct image *img, const struct header *old,
			 struct qcow2_error *err)
{
	uint8_t buf[HEADER_LENGTH_V3];
	int rc;

	if (img->rw->header_unsettled)
		rc = header_settle_locked(img, err);
	else
		rc = write_and_wait(img, buf, encode_fixed_part(img, buf), err);
	if (rc < 0) {
		img->header = *old;
		header_settle_locked(img, NULL);
	}
	return rc;
}

int header_update(struct image *img, header_change_fn *change, void *opaque,
		  struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);
	struct header old = img->header;

	change(&img->header, opaque);
	return write_changed(img, &old, err);
}

/* ---- Bits --------------------------------------------------------------------- */

static int change_locked(struct image *img, struct feature_change change,
			 struct qcow2_error *err)
{
	struct header *h = &img->header;
	uint64_t incompatible = (h->incompatible_features &
				 ~change.clear_incompatible) |
				change.set_incompatible;
	uint64_t autoclear = h->autoclear_features & ~change.clear_autoclear;
	struct header old = *h;

	if (h->version < 3 || (h->incompatible_features == incompatible &&
			       h->autoclear_features == autoclear))
		return header_settle_locked(img, err);
	h->incompatible_features = incompatible;
	h->autoclear_features = autoclear;
	return write_changed(img, &old, err);
}

int features_change(struct image *img, struct feature_change change,
		    struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	return change_locked(img, change, err);
}

int features_mark_corrupt(struct image *img, int code)
{
	features_change(img,
			(struct feature_change){
				.set_incompatible = INCOMPAT_CORRUPT },
			NULL);
	commit_poison(&img->rw->commit, code);
	return code;
}

int features_open(struct image *img, struct qcow2_error *err)
{
	uint64_t known = AUTOCLEAR_BITMAPS |
			 (img->geo.has_data_file ? AUTOCLEAR_DATA_FILE_RAW : 0);

	atomic_init(&img->rw->bitmaps_valid,
		    img->header.autoclear_features & AUTOCLEAR_BITMAPS);
	return features_change(
		img, (struct feature_change){ .clear_autoclear = ~known }, err);
}

int features_before_guest_change(struct image *img, struct qcow2_error *err)
{
	struct rw *rw = img->rw;
	int rc;

	if (!atomic_load_explicit(&rw->bitmaps_valid, memory_order_acquire))
		return 0;
	rc = features_change(
		img,
		(struct feature_change){ .clear_autoclear = AUTOCLEAR_BITMAPS },
		err);
	if (rc == 0)
		atomic_store_explicit(&rw->bitmaps_valid, false,
				      memory_order_release);
	return rc;
}

bool features_keep_bitmaps(struct image *img)
{
	return atomic_exchange(&img->rw->bitmaps_valid, false);
}

void features_end_keep_bitmaps(struct image *img, bool kept)
{
	atomic_store(&img->rw->bitmaps_valid, kept);
}

/* ---- The dirty bit ------------------------------------------------------------ */

int features_begin_dirty(struct image *img, enum dirty_reason reason,
			 struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);
	int rc = change_locked(
		img,
		(struct feature_change){ .set_incompatible = INCOMPAT_DIRTY },
		err);

	if (rc == 0)
		img->rw->dirty_reasons |= reason;
	return rc;
}

static void replace_operation(struct image *img, enum dirty_reason reason)
{
	SCOPED_LOCK(&img->header_lock);

	img->rw->dirty_reasons &= ~(unsigned)DIRTY_OPERATION;
	img->rw->dirty_reasons |= reason;
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

	return img->rw->dirty_reasons & DIRTY_OPERATION;
}

int features_end_dirty(struct image *img, unsigned reasons,
		       struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	img->rw->dirty_reasons &= ~reasons;
	if (img->rw->dirty_reasons)
		return 0;
	return change_locked(
		img,
		(struct feature_change){ .clear_incompatible = INCOMPAT_DIRTY },
		err);
}
