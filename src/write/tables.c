#include "write/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "image/image.h"
#include "store/store.h"
#include "write/features.h"
#include "write/overlap.h"
#include "write/proof.h"
#include "write/writer.h"

static bool is_ready(const struct image *img, uint64_t index)
{
	uint64_t entry = map_l1_entry(&img->map, index);

	return l1_table_off(entry) && (entry & ENTRY_COPIED) &&
	       proof_allows_in_place(img, l1_table_off(entry));
}

/* Fills the cluster of the new table: from the old table, or with zeros unless
 * it has them already. */
static int write_tables_fill(struct image *img, uint64_t old_off,
			     const struct claim *c, struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;
	CLEANUP_FREE uint8_t *table = NULL;
	int rc = 0;

	/* The cluster may have held another table before. */
	cache_forget(&img->map.l2, size, c->host_off);
	if (!old_off && c->reads_zero)
		return 0;
	table = calloc(1, size);
	if (!table)
		return error_nomem(err, "an L2 table", size);
	if (old_off)
		rc = store_pread(img->file, table, size, old_off, 0, err);
	return rc < 0 ? rc
		      : store_pwrite(img->file, table, size, c->host_off, 0,
				     err);
}

static int link_table(struct image *img, uint64_t index, uint64_t old_off,
		      const struct allocation *a, struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	int rc = commit_begin(c, 1, err);

	if (rc < 0)
		return rc;
	commit_set_l1(c, index, a->claim.host_off | ENTRY_COPIED);
	if (old_off) {
		/* Now it is a snapshot's only, and later anybody's. */
		guard_remove(&img->writer->guard, QCOW2_OVERLAP_ACTIVE_L2, 1,
			     old_off);
		commit_free(c, (struct freed){ old_off, 1, false });
	}
	/* A table of zeros says the same as no table: it may come late. */
	if (old_off || !a->claim.reads_zero || !a->durable)
		commit_order(c);
	commit_end(c);
	return 0;
}

int tables_check_entry(struct image *img, uint64_t index, uint64_t entry,
		       struct qcow2_error *err)
{
	enum defect bad =
		l1_entry_defect(&img->geo, entry, image_file_end(img));

	if (bad == DEFECT_NONE || bad == DEFECT_L1_ENTRY_RESERVED)
		return 0;
	error_defect(err, -EIO, (int)bad, l1_table_off(entry),
		     "%s (entry %" PRIu64 " is 0x%" PRIx64 ")",
		     defect_info((int)bad)->text, index, entry);
	return features_mark_corrupt(img, -EIO);
}

static int make(struct image *img, uint64_t index, struct qcow2_error *err)
{
	uint64_t old = map_l1_entry(&img->map, index);
	struct allocation a;
	int rc = tables_check_entry(img, index, old, err);

	if (rc == 0)
		rc = alloc_clusters(&img->writer->alloc, 1, &a, err);
	if (rc < 0)
		return rc;
	rc = overlap_check(img, img->geo.cluster_size, a.claim.host_off, err);
	if (rc == 0)
		rc = write_tables_fill(img, l1_table_off(old), &a.claim, err);
	if (rc == 0)
		rc = guard_add(&img->writer->guard, QCOW2_OVERLAP_ACTIVE_L2, 1,
			       a.claim.host_off, err);
	if (rc == 0) {
		rc = link_table(img, index, l1_table_off(old), &a, err);
		if (rc < 0)
			guard_remove(&img->writer->guard,
				     QCOW2_OVERLAP_ACTIVE_L2, 1,
				     a.claim.host_off);
	}
	if (rc < 0)
		refcounts_unclaim(&img->writer->refs, &a.claim);
	return rc;
}

bool tables_are_ready(const struct image *img, uint64_t guest_off)
{
	return is_ready(img, geometry_l1_index(&img->geo, guest_off));
}

int tables_make(struct image *img, uint64_t guest_off, struct qcow2_error *err)
{
	uint64_t index = geometry_l1_index(&img->geo, guest_off);

	if (is_ready(img, index))
		return 0;
	SCOPED_LOCK(&img->writer->table_lock);
	return is_ready(img, index) ? 0 : make(img, index, err);
}
