#include "counts/replace.h"

#include <stdlib.h>

#include "base/checked.h"
#include "counts/file.h"
#include "format/refcount.h"

/* The old structures: the table, and the blocks it lists. */
struct replaced {
	struct reftable_place place;
	uint64_t *table;
	uint64_t n_table;
};

/* State that does not come from the file stays.  If the new refcounts cannot be
 * opened, readers go on. */
static int open_again(struct refcounts *r, const struct header *h,
		      const struct refcounts *before, uint64_t cache_bytes,
		      struct qcow2_error *err)
{
	int rc = refcounts_open(r, before->geo, h, before->file, cache_bytes,
				err);

	if (rc < 0) {
		refcounts_open_none(r, before->geo, before->file, rc);
		r->file_size = before->file_size;
		r->high_water = before->high_water;
	} else {
		refcounts_set_clean(r, before->blocks.clean_sec);
	}
	r->owner = before->owner;
	r->held = before->held;
	r->used_end.host_off =
		max_u64(r->used_end.host_off, before->used_end.host_off);
	r->used_end.is_known = before->used_end.is_known;
	return rc;
}

static int reopen(struct refcounts *r, const struct header *h,
		  struct replaced *old, struct qcow2_error *err)
{
	struct refcounts before = *r;
	uint64_t cache_bytes =
		cache_capacity(&r->blocks) * r->blocks.slice_bytes;

	*old = (struct replaced){ r->place, r->table, r->n_table };
	r->table = NULL;
	refcounts_release(r);
	return open_again(r, h, &before, cache_bytes, err);
}

static int free_metadata(struct refcounts *r, uint64_t n, uint64_t host_off,
			 struct qcow2_error *err)
{
	uint32_t bits = r->geo->cluster_bits;

	refcounts_tell_old(r, n << bits, host_off);
	return refcounts_decrement(r, n, host_off >> bits, err);
}

static int counts_replace_free_old(struct refcounts *r,
				   const struct replaced *old,
				   struct qcow2_error *err)
{
	int rc = free_metadata(r, old->place.clusters, old->place.off, err);

	for (uint64_t i = 0; rc == 0 && i < old->n_table; i++)
		if (old->table[i])
			rc = free_metadata(
				r, 1, refcount_block_off(old->table[i]), err);
	return rc;
}

int refcounts_replace(struct refcounts *r, const struct header *h,
		      struct qcow2_error *err)
{
	struct replaced old;
	int rc = reopen(r, h, &old, err);

	if (rc == 0)
		rc = counts_replace_free_old(r, &old, err);
	free(old.table);
	return rc;
}
