#include "counts/grow.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "counts/block.h"
#include "counts/file.h"

/* A larger table and the blocks that describe it and themselves, at the end of
 * what the old table could describe. */
struct growth {
	uint64_t first;    /* cluster index of the table */
	uint64_t n_table;  /* clusters of the table */
	uint64_t n_blocks; /* right behind it */
	uint64_t n_entries;
	uint64_t *entries;
};

static uint64_t table_entries_max(void)
{
	return REFCOUNT_TABLE_BYTES_MAX / REFCOUNT_TABLE_ENTRY_BYTES;
}

/* The region where the new table begins: behind all that the old one could
 * describe, and behind the end of the file. */
static uint64_t growth_index(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);
	uint64_t used = r->high_water >> r->geo->cluster_bits;

	return max_u64(r->n_table, div_round_up(used, block_clusters(r)));
}

/* Blocks, table and entries depend on each other: a few rounds settle it. */
static int plan_growth(struct refcounts *r, uint64_t index, struct growth *g,
		       struct qcow2_error *err)
{
	uint64_t per_cluster =
		r->geo->cluster_size / REFCOUNT_TABLE_ENTRY_BYTES;
	uint64_t own = growth_index(r);
	uint64_t blocks = 1;

	do {
		g->n_blocks = blocks;
		/* Half as much again, so that growing stays rare. */
		g->n_entries = max_u64(r->n_table + r->n_table / 2,
				       max_u64(index, own + blocks) + 1);
		g->n_entries = min_u64(align_up(g->n_entries, per_cluster),
				       table_entries_max());
		g->n_table = g->n_entries / per_cluster;
		blocks = div_round_up(g->n_table + g->n_blocks,
				      block_clusters(r));
	} while (blocks != g->n_blocks);
	if (g->n_entries <= max_u64(index, own + blocks))
		return error_set(err, -EFBIG,
				 "the refcount table would exceed its limit "
				 "of %" PRIu64 " bytes",
				 (uint64_t)REFCOUNT_TABLE_BYTES_MAX);
	g->first = refcounts_take_end(r, g->n_table + g->n_blocks,
				      own << r->geo->refcount_block_bits);
	return 0;
}

static int write_growth_blocks(struct refcounts *r, struct growth *g,
			       struct qcow2_error *err)
{
	uint64_t per_block = block_clusters(r);
	uint64_t n = g->n_table + g->n_blocks;
	uint64_t done = 0;

	for (uint64_t b = 0; done < n; b++) {
		uint64_t first = g->first + done;
		uint64_t here =
			min_u64(n - done, per_block - first % per_block);
		uint64_t host_off = (g->first + g->n_table + b)
				    << r->geo->cluster_bits;
		int rc = block_write(r, here, first, host_off, err);

		if (rc < 0)
			return rc;
		g->entries[first / per_block] = host_off;
		done += here;
	}
	return 0;
}

static int grow_write_table(struct refcounts *r, const struct growth *g,
			    struct qcow2_error *err)
{
	uint64_t bytes = g->n_table << r->geo->cluster_bits;
	CLEANUP_FREE uint8_t *raw = alloc_zeroed(1, bytes);

	if (!raw)
		return error_nomem(err, "a refcount table", bytes);
	for (uint64_t i = 0; i < g->n_entries; i++)
		put_be64(raw + 8 * i, g->entries[i]);
	return refcounts_write_end(r, raw, to_size(bytes),
				   g->first << r->geo->cluster_bits, err);
}

/* True when a commit is writing entries of the old one. */
static bool grow_use_table(struct refcounts *r, struct growth *g,
			   struct reftable_place to)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	assert(g->n_entries > r->n_table);
	free(r->table);
	r->place = to;
	r->table = g->entries;
	r->n_table = g->n_entries;
	g->entries = NULL;
	return r->changes.writing.end != 0;
}

static int switch_table(struct refcounts *r, struct growth *g,
			struct qcow2_error *err)
{
	struct reftable_place old = r->place;
	struct reftable_place to = { g->first << r->geo->cluster_bits,
				     (uint32_t)g->n_table };
	int rc = refcounts_barrier(r, err);
	bool busy;

	if (rc == 0)
		rc = r->owner.move_table(r->owner.opaque, to, err);
	if (rc < 0)
		return rc;
	busy = grow_use_table(r, g, to);
	refcounts_tell_old(r, (uint64_t)old.clusters << r->geo->cluster_bits,
			   old.off);
	/* Nobody reads the old table once the header is durable, but a commit
	 * may be writing to it.  If it cannot be uncounted it leaks. */
	if (!busy)
		refcounts_decrement(r, old.clusters,
				    old.off >> r->geo->cluster_bits, NULL);
	return 0;
}

static int grow_table(struct refcounts *r, uint64_t index,
		      struct qcow2_error *err)
{
	struct growth g = { 0 };
	int rc = plan_growth(r, index, &g, err);
	uint64_t host_off = g.first << r->geo->cluster_bits;
	uint64_t bytes = (g.n_table + g.n_blocks) << r->geo->cluster_bits;

	if (rc < 0)
		return rc;
	g.entries = alloc_zeroed(g.n_entries, sizeof(*g.entries));
	if (!g.entries)
		return error_nomem(err, "a refcount table", g.n_entries * 8);
	memcpy(g.entries, r->table, to_size(r->n_table * sizeof(*g.entries)));
	rc = refcounts_tell_new(r, bytes, host_off, err);
	if (rc == 0)
		rc = write_growth_blocks(r, &g, err);
	if (rc == 0)
		rc = grow_write_table(r, &g, err);
	if (rc == 0)
		rc = switch_table(r, &g, err);
	/* Nothing points to it, or nothing is changed any more. */
	if (rc < 0)
		refcounts_tell_old(r, bytes, host_off);
	free(g.entries);
	return rc;
}

int refcounts_grow_table(struct refcounts *r, uint64_t n_regions,
			 struct qcow2_error *err)
{
	return grow_table(r, growth_index(r) + n_regions, err);
}

int refcounts_add_block(struct refcounts *r, uint64_t cluster_idx,
			struct qcow2_error *err)
{
	uint64_t index = cluster_idx >> r->geo->refcount_block_bits;
	SCOPED_LOCK(&r->grow_lock);

	int rc = refcounts_check(r, err);

	if (rc == 0 && index >= r->n_table)
		rc = grow_table(r, index, err);
	if (rc == 0 && !r->table[index])
		rc = block_add(r, index, err);
	/* A caller that tries again must find the block, or it would loop for
	 * ever. */
	assert(rc != 0 || r->table[index]);
	return rc;
}

int refcounts_add_block_at(struct refcounts *r, uint64_t cluster_idx,
			   uint64_t host_off, struct qcow2_error *err)
{
	uint64_t index = cluster_idx >> r->geo->refcount_block_bits;
	SCOPED_LOCK(&r->grow_lock);
	int rc = refcounts_check(r, err);

	assert(index < r->n_table && !r->table[index]);
	if (rc == 0)
		rc = refcounts_tell_new(r, r->geo->cluster_size, host_off, err);
	if (rc < 0)
		return rc;
	rc = block_write(r, 0, 0, host_off, err);
	if (rc == 0)
		rc = refcounts_barrier(r, err);
	if (rc == 0)
		block_link(r, index, host_off);
	else
		refcounts_tell_old(r, r->geo->cluster_size, host_off);
	return rc;
}
