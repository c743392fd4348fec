#include "counts/relocate.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/view.h"
#include "format/refcount.h"
#include "store/store.h"

static int copy_clusters(struct refcounts *r, uint64_t n, uint64_t from,
			 uint64_t to, struct qcow2_error *err)
{
	uint32_t size = r->geo->cluster_size;
	CLEANUP_FREE uint8_t *buf = malloc(size);
	int rc = 0;

	if (!buf)
		return error_nomem(err, "moving refcounts", size);
	for (uint64_t off = 0; rc == 0 && off < n * size; off += size) {
		rc = store_pread(r->file, buf, size, from + off, 0, err);
		if (rc == 0)
			rc = store_pwrite(r->file, buf, size, to + off, 0, err);
	}
	if (rc < 0)
		return rc;
	rc = store_flush(r->file, err);
	if (rc < 0)
		r->broken = rc;
	return rc;
}

static int point_to(struct refcounts *r, uint64_t index, uint64_t host_off,
		    struct qcow2_error *err)
{
	uint8_t entry[REFCOUNT_TABLE_ENTRY_BYTES];
	int rc;

	put_be64(entry, host_off);
	rc = store_pwrite(r->file, entry, sizeof(entry),
			  r->place.off + index * sizeof(entry), 0, err);
	if (rc < 0) {
		/* Both blocks are the same and both counted; the next commit
		 * says which it is. */
		mutex_lock(&r->lock);
		refcounts_table_changed(r, index);
		mutex_unlock(&r->lock);
		return rc;
	}
	rc = store_flush(r->file, err);
	if (rc < 0)
		r->broken = rc;
	return rc;
}

int refcounts_relocate_block(struct refcounts *r, uint64_t index,
			     uint64_t host_off, struct qcow2_error *err)
{
	uint32_t size = r->geo->cluster_size;
	uint64_t old = refcount_block_off(r->table[index]);
	int rc = r->owner.new_metadata(r->owner.opaque, size, host_off, err);

	if (rc == 0)
		rc = copy_clusters(r, 1, old, host_off, err);
	if (rc < 0)
		return rc;
	rc = point_to(r, index, host_off, err);
	if (rc < 0)
		return rc;
	cache_forget(&r->blocks, size, host_off);
	cache_forget(&r->blocks, size, old);
	mutex_lock(&r->lock);
	r->table[index] = host_off;
	mutex_unlock(&r->lock);
	r->owner.old_metadata(r->owner.opaque, size, old);
	return 0;
}

int refcounts_relocate_table(struct refcounts *r, uint64_t host_off,
			     struct qcow2_error *err)
{
	struct reftable_place old = r->place;
	struct reftable_place to = { host_off, old.clusters };
	uint64_t bytes = (uint64_t)old.clusters << r->geo->cluster_bits;
	int rc = r->owner.new_metadata(r->owner.opaque, bytes, host_off, err);

	if (rc == 0)
		rc = copy_clusters(r, old.clusters, old.off, host_off, err);
	if (rc < 0)
		return rc;
	rc = r->owner.move_table(r->owner.opaque, to, err);
	if (rc < 0)
		return rc;
	r->place = to;
	r->owner.old_metadata(r->owner.opaque, bytes, old.off);
	return 0;
}
