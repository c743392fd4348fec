#include "counts/relocate.h"

#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "counts/file.h"
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
	return refcounts_barrier(r, err);
}

/* The new place is metadata from here on, unless the copy fails: then nothing
 * points to it, nor ever will. */
static int copy_to_new(struct refcounts *r, uint64_t n, uint64_t from,
		       uint64_t to, struct qcow2_error *err)
{
	uint64_t bytes = n << r->geo->cluster_bits;
	int rc = refcounts_tell_new(r, bytes, to, err);

	if (rc == 0)
		rc = copy_clusters(r, n, from, to, err);
	if (rc < 0)
		refcounts_tell_old(r, bytes, to);
	return rc;
}

/* After a failure both blocks are the same, and both counted. */
static int relocate_point_to(struct refcounts *r, uint64_t index,
			     uint64_t host_off, struct qcow2_error *err)
{
	int rc = refcounts_write_entry(r, index, host_off, err);

	return rc < 0 ? rc : refcounts_barrier(r, err);
}

static void use_block(struct refcounts *r, uint64_t index, uint64_t host_off)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	assert(index < r->n_table && r->table[index]);
	r->table[index] = host_off;
}

static void relocate_use_table(struct refcounts *r, struct reftable_place to)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	assert(to.clusters == r->place.clusters);
	r->place = to;
}

int refcounts_relocate_block(struct refcounts *r, uint64_t index,
			     uint64_t host_off, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->grow_lock);
	uint32_t size = r->geo->cluster_size;
	uint64_t old = refcount_block_off(r->table[index]);
	int rc = copy_to_new(r, 1, old, host_off, err);

	if (rc < 0)
		return rc;
	rc = relocate_point_to(r, index, host_off, err);
	if (rc < 0)
		return rc;
	cache_forget(&r->blocks, size, host_off);
	cache_forget(&r->blocks, size, old);
	use_block(r, index, host_off);
	refcounts_tell_old(r, size, old);
	return 0;
}

int refcounts_relocate_table(struct refcounts *r, uint64_t host_off,
			     struct qcow2_error *err)
{
	SCOPED_LOCK(&r->grow_lock);
	struct reftable_place old = r->place;
	struct reftable_place to = { host_off, old.clusters };
	uint64_t bytes = (uint64_t)old.clusters << r->geo->cluster_bits;
	int rc = copy_to_new(r, old.clusters, old.off, host_off, err);

	if (rc < 0)
		return rc;
	rc = r->owner.move_table(r->owner.opaque, to, err);
	if (rc < 0)
		return rc;
	relocate_use_table(r, to);
	refcounts_tell_old(r, bytes, old.off);
	return 0;
}
