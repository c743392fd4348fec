#include "write/header_sector.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

static size_t encode_fixed_part(const struct image *img, uint8_t *buf)
{
	struct header h = img->header;
	size_t len;

	/* Leave fields that later versions added after it untouched. */
	if (h.header_length > HEADER_LENGTH_V3) {
		h.tail_len -= h.header_length - HEADER_LENGTH_V3;
		h.header_length = HEADER_LENGTH_V3;
	}
	len = header_encode(&h, buf, HEADER_LENGTH_V3);
	/* "One atomic write". */
	assert(len && len <= SECTOR_BYTES);
	if (img->header.version >= 3)
		put_be32(buf + HEADER_OFF_HEADER_LENGTH,
			 img->header.header_length);
	return len;
}

static int write_and_wait(struct image *img, const uint8_t *buf, size_t len,
			  struct qcow2_error *err)
{
	int rc = store_pwrite(img->file, buf, len, 0, 0, err);

	if (rc == 0) {
		rc = store_flush(img->file, err);
		/* Everything that the barrier was to make durable may be
		 * lost. */
		if (rc < 0)
			commit_poison(&img->writer->commit, rc);
	}
	img->writer->header_unsettled = rc < 0;
	return rc;
}

/* All of the sector: the failed write may have changed more than the fixed
 * part. */
int header_sector_settle_locked(struct image *img, struct qcow2_error *err)
{
	uint8_t sector[SECTOR_BYTES];
	int rc;

	if (!img->writer->header_unsettled)
		return 0;
	rc = commit_check(&img->writer->commit, err);
	if (rc < 0)
		return rc;
	assert(img->names.cluster0_len >= sizeof(sector));
	memcpy(sector, img->names.cluster0, sizeof(sector));
	encode_fixed_part(img, sector);
	return write_and_wait(img, sector, sizeof(sector), err);
}

int header_sector_settle(struct image *img, struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	return header_sector_settle_locked(img, err);
}

bool header_sector_is_settled(struct image *img)
{
	SCOPED_LOCK(&img->header_lock);

	return !img->writer->header_unsettled;
}

/* The quarantine ends with a commit that has settled the header before. */
void header_sector_unclaim(struct image *img, const struct claim *claim)
{
	struct commit *c = &img->writer->commit;

	if (header_sector_is_settled(img)) {
		refcounts_unclaim(&img->writer->refs, claim);
	} else if (commit_begin(c, 1, NULL) == 0) {
		commit_free(c, (struct freed){ claim->host_off,
					       claim->n_clusters, false });
		commit_end(c);
	}
}

int header_sector_write(struct image *img, const uint8_t sector[SECTOR_BYTES],
			struct qcow2_error *err)
{
	int rc = write_and_wait(img, sector, SECTOR_BYTES, err);

	if (rc < 0)
		header_sector_settle_locked(img, NULL);
	return rc;
}

/* Brings img->header to the disk, or *old back to both. */
static int header_sector_write_changed(struct image *img,
				       const struct header *old,
				       struct qcow2_error *err)
{
	uint8_t buf[HEADER_LENGTH_V3];
	int rc;

	if (img->writer->header_unsettled)
		rc = header_sector_settle_locked(img, err);
	else
		rc = write_and_wait(img, buf, encode_fixed_part(img, buf), err);
	if (rc < 0) {
		img->header = *old;
		header_sector_settle_locked(img, NULL);
	}
	return rc;
}

int header_sector_update_locked(struct image *img, header_change_fn *change,
				void *opaque, struct qcow2_error *err)
{
	struct header old = img->header;

	change(&img->header, opaque);
	/* These are the image's as long as it is open. */
	assert(img->header.cluster_bits == old.cluster_bits &&
	       img->header.version == old.version);
	return header_sector_write_changed(img, &old, err);
}

int header_sector_update(struct image *img, header_change_fn *change,
			 void *opaque, struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	return header_sector_update_locked(img, change, opaque, err);
}
