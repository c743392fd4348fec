#include "write/overlap.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "counts/used.h"
#include "image/image.h"
#include "store/store.h"
#include "write/features.h"
#include "write/writer.h"

static int overlap_add(struct image *img, uint32_t section, uint64_t len,
		       uint64_t host_off, struct qcow2_error *err)
{
	return guard_add(&img->writer->guard, section, len, host_off, err);
}

static int add_tables(struct image *img, struct qcow2_error *err)
{
	const struct header *h = &img->header;
	int rc = overlap_add(img, QCOW2_OVERLAP_ACTIVE_L1,
			     (uint64_t)h->l1_size * L1_ENTRY_BYTES, h->l1_off,
			     err);

	if (rc == 0)
		rc = overlap_add(img, QCOW2_OVERLAP_REFCOUNT_TABLE,
				 (uint64_t)h->refcount_table_clusters
					 << img->geo.cluster_bits,
				 h->refcount_table_off, err);
	if (rc == 0 && h->n_snapshots)
		rc = overlap_add(img, QCOW2_OVERLAP_SNAPSHOT_TABLE,
				 img->snapshots.table_bytes, h->snapshots_off,
				 err);
	return rc < 0 ? rc
		      : overlap_add(img, QCOW2_OVERLAP_BITMAP_DIRECTORY,
				    img->bitmaps.directory_bytes,
				    img->bitmaps.directory_off, err);
}

static int add_l2_tables(struct image *img, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < img->map.l1.n_entries; i++) {
		uint64_t off = l1_table_off(map_l1_entry(&img->map, i));

		if (off)
			rc = overlap_add(img, QCOW2_OVERLAP_ACTIVE_L2, 1, off,
					 err);
	}
	return rc;
}

static int add_refcount_blocks(struct image *img, struct qcow2_error *err)
{
	struct refcounts *r = &img->writer->refs;
	uint64_t off;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && refcounts_next_block(r, &i, &off); i++)
		rc = overlap_add(img, QCOW2_OVERLAP_REFCOUNT_BLOCK, 1, off,
				 err);
	return rc;
}

/* ---- Snapshots ----------------------------------------------------------- */

static int add_snapshot_l2(struct image *img, const struct snapshot_info *s,
			   struct qcow2_error *err)
{
	uint8_t raw[SECTOR_BYTES];
	uint64_t bytes = (uint64_t)s->l1_size * L1_ENTRY_BYTES;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < bytes; at += sizeof(raw)) {
		uint64_t n = min_u64(sizeof(raw), bytes - at);

		rc = store_pread(img->file, raw, to_size(n), s->l1_off + at, 0,
				 err);
		for (uint64_t i = 0; rc == 0 && i < n; i += L1_ENTRY_BYTES) {
			uint64_t off = l1_table_off(get_be64(raw + i));

			if (off)
				rc = overlap_add(img, QCOW2_OVERLAP_INACTIVE_L2,
						 1, off, err);
		}
	}
	return rc;
}

static int add_snapshots(struct image *img, struct qcow2_error *err)
{
	uint32_t want = img->writer->guard.sections;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < img->snapshots.n; i++) {
		const struct snapshot_info *s = &img->snapshots.list[i];

		if (s->l1_size > L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES)
			continue;
		rc = overlap_add(img, QCOW2_OVERLAP_INACTIVE_L1,
				 (uint64_t)s->l1_size * L1_ENTRY_BYTES,
				 s->l1_off, err);
		/* Tables that cannot be found cannot be guarded either. */
		if (rc == 0 && (want & QCOW2_OVERLAP_INACTIVE_L2))
			rc = snapshot_check_view(&img->geo, s, img->sizes.file,
						 err);
		if (rc == 0 && (want & QCOW2_OVERLAP_INACTIVE_L2))
			rc = add_snapshot_l2(img, s, err);
	}
	return rc;
}

void overlap_forget_inactive_l2(struct image *img)
{
	guard_clear(&img->writer->guard, QCOW2_OVERLAP_INACTIVE_L2);
}

int overlap_learn_inactive_l2(struct image *img, struct qcow2_error *err)
{
	return img->writer->guard.sections & QCOW2_OVERLAP_INACTIVE_L2
		       ? add_snapshots(img, err)
		       : 0;
}

/* ---- Opening, looking ---------------------------------------------------- */

int overlap_open(struct image *img, uint32_t sections, struct qcow2_error *err)
{
	int rc;

	if (!sections)
		sections = QCOW2_OVERLAP_CACHED;
	rc = guard_init(&img->writer->guard, sections & QCOW2_OVERLAP_ALL,
			img->geo.cluster_bits, img->map.l1.n_entries, err);
	if (rc == 0)
		rc = add_tables(img, err);
	if (rc == 0)
		rc = add_l2_tables(img, err);
	if (rc == 0)
		rc = add_refcount_blocks(img, err);
	return rc < 0 ? rc : add_snapshots(img, err);
}

int overlap_check(struct image *img, uint64_t len, uint64_t host_off,
		  struct qcow2_error *err)
{
	if (!guard_hits(&img->writer->guard, len, host_off))
		return 0;
	error_defect(err, -EIO, DEFECT_CLUSTER_OVERLAP, host_off,
		     "a write of %" PRIu64 " bytes to host offset %" PRIu64
		     " would overwrite metadata",
		     len, host_off);
	return features_mark_corrupt(img, -EIO);
}
