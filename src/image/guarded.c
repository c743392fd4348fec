#include "image/guarded.h"

#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "format/refcount.h"
#include "image/features.h"
#include "image/image.h"
#include "image/rw.h"

static int add_tables(struct image *img, struct qcow2_error *err)
{
	const struct header *h = &img->header;
	struct guard *g = &img->rw->guard;
	int rc = guard_add(g, (uint64_t)h->l1_size * L1_ENTRY_BYTES, h->l1_off,
			   err);

	if (rc == 0)
		rc = guard_add(g,
			       (uint64_t)h->refcount_table_clusters
				       << img->geo.cluster_bits,
			       h->refcount_table_off, err);
	for (uint32_t i = 0; rc == 0 && i < img->snapshots.n; i++) {
		const struct snapshot_info *s = &img->snapshots.list[i];

		if (s->l1_size <= L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES)
			rc = guard_add(g, (uint64_t)s->l1_size * L1_ENTRY_BYTES,
				       s->l1_off, err);
	}
	if (rc == 0 && h->n_snapshots)
		rc = guard_add(g, img->snapshots.table_bytes, h->snapshots_off,
			       err);
	return rc < 0 ? rc
		      : guard_add(g, img->bitmaps.directory_bytes,
				  img->bitmaps.directory_off, err);
}

static int add_l2_tables(struct image *img, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < img->map.l1.n_entries; i++) {
		uint64_t off = l1_table_off(map_l1_entry(&img->map, i));

		if (off)
			rc = guard_add(&img->rw->guard, 1, off, err);
	}
	return rc;
}

static int add_refcount_blocks(struct image *img, struct qcow2_error *err)
{
	const struct refcounts *r = &img->rw->refs;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < r->n_table; i++)
		if (r->table[i])
			rc = guard_add(&img->rw->guard, 1,
				       r->table[i] & REFCOUNT_TABLE_OFFSET_MASK,
				       err);
	return rc;
}

int guarded_open(struct image *img, struct qcow2_error *err)
{
	int rc = guard_init(&img->rw->guard, img->geo.cluster_bits,
			    img->map.l1.n_entries, err);

	if (rc == 0)
		rc = add_tables(img, err);
	if (rc == 0)
		rc = add_l2_tables(img, err);
	if (rc == 0)
		rc = add_refcount_blocks(img, err);
	return rc;
}

int guarded_check(struct image *img, uint64_t len, uint64_t host_off,
		  struct qcow2_error *err)
{
	if (!guard_hits(&img->rw->guard, len, host_off))
		return 0;
	error_defect(err, -EIO, DEFECT_CLUSTER_OVERLAP, host_off,
		     "a write of %" PRIu64 " bytes to host offset %" PRIu64
		     " would overwrite metadata",
		     len, host_off);
	return features_mark_corrupt(img, -EIO);
}
