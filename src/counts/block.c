/*
 * New refcount blocks (O11).
 */
#include "counts/block.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/file.h"
#include "counts/view.h"
#include "format/refcount.h"

static void count_allocated(struct refcounts *r, uint64_t n, uint64_t first)
{
	SCOPED_LOCK(&r->lock);

	r->totals.allocated += n;
	refcounts_note_used(r, first + n);
}

int block_write(struct refcounts *r, uint64_t n, uint64_t first,
		uint64_t host_off, struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *block = calloc(1, r->geo->cluster_size);
	uint64_t mask = block_clusters(r) - 1;
	int rc;

	assert(n <= block_clusters(r));
	if (!block)
		return error_nomem(err, "a refcount block",
				   r->geo->cluster_size);
	for (uint64_t i = 0; i < n; i++)
		refcount_put(block, (first + i) & mask, r->geo->refcount_order,
			     1);
	rc = refcounts_write_end(r, block, r->geo->cluster_size, host_off, err);
	if (rc == 0)
		count_allocated(r, n, first);
	return rc;
}

void block_link(struct refcounts *r, uint64_t index, uint64_t host_off)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	assert(index < r->n_table && !r->table[index]);
	assert(host_off && is_aligned(host_off, r->geo->cluster_size));
	r->table[index] = host_off;
	refcounts_table_changed(r, index);
}

/* Takes a cluster at the end of the file that lies in the region of block
 * @index; false when the file's end has passed it. */
static bool take_in_region(struct refcounts *r, uint64_t index, uint64_t *place)
{
	uint32_t bits = r->geo->refcount_block_bits;
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	*place = max_u64(r->high_water >> r->geo->cluster_bits, index << bits);
	if (*place >> bits != index)
		return false;
	r->high_water = (*place + 1) << r->geo->cluster_bits;
	return true;
}

int block_add(struct refcounts *r, uint64_t index, struct qcow2_error *err)
{
	uint64_t place, host_off;
	int rc;

	/* At the end of the file, in the block's own region: so it describes
	 * itself, and nothing else has to be written for it. */
	if (!take_in_region(r, index, &place))
		return 1;
	host_off = place << r->geo->cluster_bits;
	if (host_off > HOST_OFF_MAX - r->geo->cluster_size)
		return error_set(err, -EFBIG,
				 "no refcount block fits into the 2^56 bytes "
				 "that the format can address");
	rc = refcounts_tell_new(r, r->geo->cluster_size, host_off, err);
	if (rc == 0)
		rc = block_write(r, 1, place, host_off, err);
	if (rc == 0)
		rc = refcounts_barrier(r, err);
	/* Nothing points to it: the next one to come may have it. */
	if (rc < 0)
		refcounts_tell_old(r, r->geo->cluster_size, host_off);
	else
		block_link(r, index, host_off);
	return rc;
}
