/*
 * The promises of the headers of counts/ about refcounts in memory.  They do
 * not cover the contents of the disk: entries of the table and refcounts may be
 * anything.
 */
#include "base/checked.h"
#include "counts/refcounts.h"
#include "format/limits.h"
#include "format/refcount.h"

static void range_validate(const struct table_range *t, uint64_t n_table)
{
	assert(t->first <= t->end);
	assert(t->end <= n_table);
	/* An empty one is all 0. */
	assert(implies(t->first == t->end, t->end == 0));
}

static void counts_validate_table_validate(const struct refcounts *r)
{
	uint64_t bytes = (uint64_t)r->place.clusters << r->geo->cluster_bits;

	/* The table in memory is as long as the one in the file, which the
	 * header points to. */
	assert(r->table);
	assert(r->n_table && r->n_table * REFCOUNT_TABLE_ENTRY_BYTES == bytes);
	assert(bytes <= REFCOUNT_TABLE_BYTES_MAX);
	assert(r->place.off && is_aligned(r->place.off, r->geo->cluster_size));
}

/* Clusters that the file held when it was opened, and the one that is held. */
static void limits_validate(const struct refcounts *r)
{
	uint64_t end = r->high_water >> r->geo->cluster_bits;

	/* "nothing at or above it was ever handed out": clusters are. */
	assert(is_aligned(r->high_water, r->geo->cluster_size));
	assert(r->held < max_u64(end, 1));
	assert(is_aligned(r->used_end.host_off, r->geo->cluster_size));
	/* "all below are in use, or inherited and doubted" */
	assert(r->next_free <= end);
	assert(r->inherited.end <= end);
	assert(implies(r->inherited.doubted, r->next_free >= r->inherited.end));
}

static void blocks_validate(const struct refcounts *r)
{
	assert(r->blocks.file == r->file);
	assert(r->blocks.slice_bytes <= r->geo->cluster_size);
	assert(r->geo->cluster_size % r->blocks.slice_bytes == 0);
}

/* "none are known, nothing can be counted" */
static void none_validate(const struct refcounts *r)
{
	assert(!r->table && !r->n_table);
	assert(r->broken);
	assert(!r->dirty.waiting.n && !r->dirty.writing.n);
	assert(!r->changes.waiting.end && !r->changes.writing.end);
}

void refcounts_validate(const struct refcounts *r)
{
	assert(r->geo && r->file);
	assert(r->broken <= 0);
	assert(r->dirty.cache == &r->blocks);
	range_validate(&r->changes.waiting, r->n_table);
	range_validate(&r->changes.writing, r->n_table);
	dirty_validate(&r->dirty);
	limits_validate(r);
	if (!r->blocks.shards) {
		none_validate(r);
		return;
	}
	counts_validate_table_validate(r);
	blocks_validate(r);
}

/* Clusters below what the format can address; the first is the header's. */
void claim_validate(const struct claim *c)
{
	assert(!c->host_off == !c->n_clusters);
	assert(c->host_off % SECTOR_BYTES == 0);
	assert(c->host_off <= HOST_OFF_MAX);
	assert(c->n_clusters <= HOST_OFF_MAX / SECTOR_BYTES);
}
