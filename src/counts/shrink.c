#include "counts/shrink.h"

#include <assert.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "counts/file.h"
#include "counts/inherited.h"
#include "counts/used.h"
#include "format/refcount.h"
#include "store/store.h"

static uint64_t block_off(const struct refcounts *r, uint64_t index)
{
	return refcount_block_off(r->table[index]);
}

static bool describes_itself(const struct refcounts *r, uint64_t index)
{
	return block_off(r, index) >> r->geo->cluster_bits >>
		       r->geo->refcount_block_bits ==
	       index;
}

/* True when a cluster that is not the block itself has a refcount there. */
static int is_used(struct refcounts *r, uint64_t index, bool *used,
		   struct qcow2_error *err)
{
	uint64_t bits = r->geo->refcount_block_bits;
	uint64_t own = describes_itself(r, index)
			       ? block_off(r, index) >> r->geo->cluster_bits
			       : UINT64_MAX;

	return refcounts_find_used(r, index << bits, (index + 1) << bits, own,
				   used, err);
}

/* The entry first: then nobody looks for the block any more. */
static int drop_block(struct refcounts *r, uint64_t index, uint64_t *touched,
		      struct qcow2_error *err)
{
	uint64_t off = block_off(r, index);
	uint64_t cluster = off >> r->geo->cluster_bits;
	bool own = describes_itself(r, index);
	int rc = refcounts_write_entry(r, index, 0, err);

	if (rc < 0)
		return rc;
	rc = refcounts_barrier(r, err);
	if (rc < 0)
		return rc;
	mutex_lock(&r->lock);
	r->table[index] = 0;
	mutex_unlock(&r->lock);
	cache_forget(&r->blocks, r->geo->cluster_size, off);
	refcounts_tell_old(r, r->geo->cluster_size, off);
	if (own)
		return 0;
	*touched = max_u64(*touched, cluster >> r->geo->refcount_block_bits);
	return refcounts_decrement(r, 1, cluster, err);
}

/* Index 0 describes the header and stays. */
static int drop_blocks(struct refcounts *r, uint64_t *touched,
		       struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = r->n_table - 1; rc == 0 && i > *touched; i--) {
		bool used;

		if (!r->table[i])
			continue;
		rc = is_used(r, i, &used, err);
		if (rc < 0 || used)
			return rc;
		rc = drop_block(r, i, touched, err);
	}
	return rc;
}

static void cut_range(struct table_range *t, uint64_t n)
{
	t->end = min_u64(t->end, n);
	if (t->first >= t->end)
		*t = (struct table_range){ 0 };
}

/* Changes left over from a failed drop must not be written behind the end,
 * where another cluster may lie soon. */
static void set_end(struct refcounts *r, struct reftable_place to)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	assert(to.off == r->place.off && to.clusters < r->place.clusters);
	r->place = to;
	r->n_table = ((uint64_t)to.clusters << r->geo->cluster_bits) /
		     REFCOUNT_TABLE_ENTRY_BYTES;
	cut_range(&r->changes.waiting, r->n_table);
	cut_range(&r->changes.writing, r->n_table);
}

static int counts_shrink_cut_table(struct refcounts *r, bool *more,
				   struct qcow2_error *err)
{
	uint32_t bits = r->geo->cluster_bits;
	uint64_t n = r->n_table;
	struct reftable_place to = r->place;
	uint64_t gone, gone_off;
	int rc;

	while (n > 1 && !r->table[n - 1])
		n--;
	to.clusters = (uint32_t)div_round_up(n * REFCOUNT_TABLE_ENTRY_BYTES,
					     r->geo->cluster_size);
	if (to.clusters >= r->place.clusters)
		return 0;
	rc = r->owner.move_table(r->owner.opaque, to, err);
	if (rc < 0)
		return rc;
	gone = r->place.clusters - to.clusters;
	gone_off = to.off + ((uint64_t)to.clusters << bits);
	set_end(r, to);
	*more = true;
	refcounts_tell_old(r, gone << bits, gone_off);
	return refcounts_decrement(r, gone, gone_off >> bits, err);
}

int refcounts_shrink(struct refcounts *r, bool *more, struct qcow2_error *err)
{
	uint64_t touched = 0;
	SCOPED_LOCK(&r->grow_lock);
	int rc = drop_blocks(r, &touched, err);

	*more = touched != 0;
	return rc < 0 ? rc : counts_shrink_cut_table(r, more, err);
}

/* ---- The end of the file ------------------------------------------------- */

/* With grow_lock held: the end of the last cluster that stays. */
static int find_tail(struct refcounts *r, uint64_t *end,
		     struct qcow2_error *err)
{
	uint64_t limit = max_u64(refcounts_cut_limit(r), 1);

	/* Others write files that end within a cluster. */
	*end = geometry_clusters(r->geo, r->file_size);
	return *end > limit ? refcounts_used_end(r, limit, *end, end, err) : 0;
}

int refcounts_cut_tail(struct refcounts *r, struct qcow2_error *err)
{
	SCOPED_LOCK(&r->grow_lock);
	uint64_t end;
	int rc;

	/* Somebody else made it longer. */
	if (r->file_size > r->high_water)
		return 0;
	rc = find_tail(r, &end, err);
	if (rc < 0 || end << r->geo->cluster_bits >= r->file_size)
		return rc;
	rc = store_truncate(r->file, end << r->geo->cluster_bits, err);
	if (rc == 0)
		r->file_size = end << r->geo->cluster_bits;
	return rc;
}
