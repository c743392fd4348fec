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
#include "counts/view.h"
#include "format/refcount.h"
#include "store/store.h"

static uint64_t block_clusters(const struct refcounts *r)
{
	return UINT64_C(1) << r->geo->refcount_block_bits;
}

static int tell_new(struct refcounts *r, uint64_t len, uint64_t host_off,
		    struct qcow2_error *err)
{
	return r->owner.new_metadata(r->owner.opaque, len, host_off, err);
}

static void tell_old(struct refcounts *r, uint64_t len, uint64_t host_off)
{
	r->owner.old_metadata(r->owner.opaque, len, host_off);
}

static uint64_t table_entries_max(void)
{
	return REFCOUNT_TABLE_BYTES_MAX / REFCOUNT_TABLE_ENTRY_BYTES;
}

/* Writes @len bytes at the end of the file, which grows by it.  Whoever sets
 * the size later must know, or would cut it off again. */
static int write_end(struct refcounts *r, const void *buf, size_t len,
		     uint64_t host_off, struct qcow2_error *err)
{
	int rc = store_pwrite(r->file, buf, len, host_off, 0, err);

	if (rc == 0)
		r->file_size = max_u64(r->file_size, host_off + len);
	return rc;
}

/* Writes a block at @host_off in which clusters [first, first + n) of its
 * region have refcount 1. */
static int write_block(struct refcounts *r, uint64_t n, uint64_t first,
		       uint64_t host_off, struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *block = calloc(1, r->geo->cluster_size);
	uint64_t mask = block_clusters(r) - 1;

	if (!block)
		return error_nomem(err, "a refcount block",
				   r->geo->cluster_size);
	for (uint64_t i = 0; i < n; i++)
		refcount_put(block, (first + i) & mask, r->geo->refcount_order,
			     1);
	return write_end(r, block, r->geo->cluster_size, host_off, err);
}

/* Takes clusters at the end of the file, at or after @min_cluster. */
static uint64_t take_end(struct refcounts *r, uint64_t n, uint64_t min_cluster)
{
	uint32_t bits = r->geo->cluster_bits;
	SCOPED_LOCK(&r->lock);
	uint64_t first = max_u64(r->high_water >> bits, min_cluster);

	r->high_water = (first + n) << bits;
	return first;
}

/* The same for one cluster that lies in the region of block @index; false when
 * the file's end has passed it. */
static bool take_in_region(struct refcounts *r, uint64_t index, uint64_t *place)
{
	uint32_t bits = r->geo->refcount_block_bits;
	SCOPED_LOCK(&r->lock);

	*place = max_u64(r->high_water >> r->geo->cluster_bits, index << bits);
	if (*place >> bits != index)
		return false;
	r->high_water = (*place + 1) << r->geo->cluster_bits;
	return true;
}

static int check_broken(const struct refcounts *r, struct qcow2_error *err)
{
	if (!r->broken)
		return 0;
	return error_set(err, r->broken,
			 "the image takes no more refcount blocks until it is "
			 "opened again: flushing the file failed");
}

static int barrier(struct refcounts *r, struct qcow2_error *err)
{
	int rc = store_flush(r->file, err);

	if (rc < 0)
		r->broken = rc;
	return rc;
}

/* ---- A block (O11) ------------------------------------------------------- */

/* The block is durable.  Its entry goes with the refcounts of the next commit,
 * as those in the block do. */
static void link_block(struct refcounts *r, uint64_t index, uint64_t host_off)
{
	SCOPED_LOCK(&r->lock);

	r->table[index] = host_off;
	refcounts_table_changed(r, index);
}

static int add_block(struct refcounts *r, uint64_t index,
		     struct qcow2_error *err)
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
	rc = tell_new(r, r->geo->cluster_size, host_off, err);
	if (rc == 0)
		rc = write_block(r, 1, place, host_off, err);
	if (rc == 0)
		rc = barrier(r, err);
	/* Nothing points to it: the next one to come may have it. */
	if (rc < 0)
		tell_old(r, r->geo->cluster_size, host_off);
	else
		link_block(r, index, host_off);
	return rc;
}

/* ---- A table (O12) ------------------------------------------------------- */

/* A larger table and the blocks that describe it and themselves, at the end of
 * what the old table could describe. */
struct growth {
	uint64_t first;    /* cluster index of the table */
	uint64_t n_table;  /* clusters of the table */
	uint64_t n_blocks; /* right behind it */
	uint64_t n_entries;
	uint64_t *entries;
};

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
	g->first = take_end(r, g->n_table + g->n_blocks,
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
		int rc = write_block(r, here, first, host_off, err);

		if (rc < 0)
			return rc;
		g->entries[first / per_block] = host_off;
		done += here;
	}
	return 0;
}

static int write_table(struct refcounts *r, const struct growth *g,
		       struct qcow2_error *err)
{
	uint64_t bytes = g->n_table << r->geo->cluster_bits;
	CLEANUP_FREE uint8_t *raw = alloc_zeroed(1, bytes);

	if (!raw)
		return error_nomem(err, "a refcount table", bytes);
	for (uint64_t i = 0; i < g->n_entries; i++)
		put_be64(raw + 8 * i, g->entries[i]);
	return write_end(r, raw, to_size(bytes),
			 g->first << r->geo->cluster_bits, err);
}

/* True when a commit is writing entries of the old one. */
static bool use_table(struct refcounts *r, struct growth *g,
		      struct reftable_place to)
{
	SCOPED_LOCK(&r->lock);

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
	int rc = barrier(r, err);
	bool busy;

	if (rc == 0)
		rc = r->owner.move_table(r->owner.opaque, to, err);
	if (rc < 0)
		return rc;
	busy = use_table(r, g, to);
	tell_old(r, (uint64_t)old.clusters << r->geo->cluster_bits, old.off);
	/* Nobody reads the old table once the header is durable, but a commit
	 * may be writing to it.  Where it cannot be uncounted it leaks. */
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
	rc = tell_new(r, bytes, host_off, err);
	if (rc == 0)
		rc = write_growth_blocks(r, &g, err);
	if (rc == 0)
		rc = write_table(r, &g, err);
	if (rc == 0)
		rc = switch_table(r, &g, err);
	/* Nothing points to it, or nothing is changed any more. */
	if (rc < 0)
		tell_old(r, bytes, host_off);
	free(g.entries);
	return rc;
}

int refcounts_add_block(struct refcounts *r, uint64_t cluster_idx,
			struct qcow2_error *err)
{
	uint64_t index = cluster_idx >> r->geo->refcount_block_bits;
	SCOPED_LOCK(&r->grow_lock);

	int rc = check_broken(r, err);

	if (rc == 0 && index >= r->n_table)
		rc = grow_table(r, index, err);
	if (rc == 0 && !r->table[index])
		rc = add_block(r, index, err);
	/* Who comes back finds the block, or would do so for ever. */
	assert(rc != 0 || r->table[index]);
	return rc;
}

int refcounts_add_block_at(struct refcounts *r, uint64_t cluster_idx,
			   uint64_t host_off, struct qcow2_error *err)
{
	uint64_t index = cluster_idx >> r->geo->refcount_block_bits;
	SCOPED_LOCK(&r->grow_lock);
	int rc = check_broken(r, err);

	assert(index < r->n_table && !r->table[index]);
	if (rc == 0)
		rc = tell_new(r, r->geo->cluster_size, host_off, err);
	if (rc < 0)
		return rc;
	rc = write_block(r, 0, 0, host_off, err);
	if (rc == 0)
		rc = barrier(r, err);
	if (rc == 0)
		link_block(r, index, host_off);
	else
		tell_old(r, r->geo->cluster_size, host_off);
	return rc;
}

/* ---- Clusters in a row --------------------------------------------------- */

/* A place at the end of the file, and the blocks that regions of it lack,
 * which come right behind it. */
struct row {
	uint64_t first; /* cluster index */
	uint64_t n;
	uint64_t n_blocks;
};

static uint64_t row_end(const struct row *row)
{
	return row->first + row->n + row->n_blocks;
}

static uint64_t missing_blocks(const struct refcounts *r, const struct row *row)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t n = 0;

	for (uint64_t i = row->first >> bits; i << bits < row_end(row); i++)
		n += i >= r->n_table || !r->table[i];
	return n;
}

/* The end of the file, in or behind the last region that has a block: so the
 * new blocks lie in regions of their own and describe themselves (O11). */
static uint64_t row_place(const struct refcounts *r)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t first = r->high_water >> r->geo->cluster_bits;
	uint64_t last = r->n_table;

	while (last > 0 && !r->table[last - 1])
		last--;
	return last > (first >> bits) + 1 ? last << bits : first;
}

/* Blocks describe themselves too: a few rounds settle their number. */
static void plan_row(struct refcounts *r, uint64_t n, struct row *row)
{
	SCOPED_LOCK(&r->lock);
	uint64_t blocks = 0;

	*row = (struct row){ row_place(r), n, 0 };
	do {
		row->n_blocks = blocks;
		blocks = missing_blocks(r, row);
	} while (blocks > row->n_blocks);
}

/* The table grows so far that the row has room behind the new one. */
static int grow_for_row(struct refcounts *r, const struct row *row,
			struct qcow2_error *err)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t regions =
		((row_end(row) - 1) >> bits) - (row->first >> bits) + 1;

	return grow_table(r, growth_index(r) + regions, err);
}

/* Finds the place; the table is long enough for it then.  A new table lies at
 * the end itself, and the row behind it: where that is more than the table
 * was made for it grows again.  Each is longer than the last, so that the limit
 * of tables ends this. */
static int place_row(struct refcounts *r, uint64_t n, struct row *row,
		     struct qcow2_error *err)
{
	uint64_t limit = HOST_OFF_MAX >> r->geo->cluster_bits;
	int rc = 0;

	while (rc == 0) {
		plan_row(r, n, row);
		if (row_end(row) > limit)
			return error_set(err, -EFBIG,
					 "%" PRIu64 " clusters in a row do not "
					 "fit into what the format can address",
					 n);
		if ((row_end(row) - 1) >> r->geo->refcount_block_bits <
		    r->n_table)
			break;
		rc = grow_for_row(r, row, err);
	}
	if (rc == 0)
		take_end(r, n + row->n_blocks, row->first);
	return rc;
}

static bool has_block(const struct refcounts *r, uint64_t index)
{
	return r->table[index] != 0;
}

/* Walks the regions of the row; @index of the next one, [*from, *to) in it. */
static bool next_region(const struct refcounts *r, const struct row *row,
			uint64_t *index, uint64_t *from, uint64_t *to)
{
	uint32_t bits = r->geo->refcount_block_bits;

	*from = *to;
	if (*from >= row_end(row))
		return false;
	*index = *from >> bits;
	*to = min_u64((*index + 1) << bits, row_end(row));
	return true;
}

/* Writes the blocks that are missing; all their clusters are the row's. */
static int write_row_blocks(struct refcounts *r, const struct row *row,
			    struct qcow2_error *err)
{
	uint64_t place = row->first + row->n;
	uint64_t index, from, to = row->first;
	int rc = 0;

	while (rc == 0 && next_region(r, row, &index, &from, &to)) {
		uint64_t host_off = place << r->geo->cluster_bits;

		if (has_block(r, index))
			continue;
		rc = tell_new(r, r->geo->cluster_size, host_off, err);
		if (rc == 0)
			rc = write_block(r, to - from, from, host_off, err);
		place++;
	}
	return rc;
}

/* O11: all blocks are durable before the first table entry. */
static int link_row_blocks(struct refcounts *r, const struct row *row,
			   struct qcow2_error *err)
{
	uint64_t place = row->first + row->n;
	uint64_t index, from, to = row->first;
	int rc = barrier(r, err);

	while (rc == 0 && next_region(r, row, &index, &from, &to)) {
		if (has_block(r, index))
			continue;
		link_block(r, index, place << r->geo->cluster_bits);
		place++;
	}
	return rc;
}

/* Counts the clusters that lie in regions with blocks of their own; 1 when
 * somebody was faster. */
static int take_described(struct refcounts *r, const struct row *row,
			  struct qcow2_error *err)
{
	uint64_t index, from, to = row->first;
	int rc = 0;

	while (rc == 0 && next_region(r, row, &index, &from, &to))
		if (has_block(r, index))
			rc = refcounts_take(r, to - from, from, err);
	return rc;
}

static int reach_end(struct refcounts *r, const struct row *row,
		     struct qcow2_error *err)
{
	uint64_t end = row_end(row) << r->geo->cluster_bits;
	int rc;

	if (end <= r->file_size)
		return 0;
	rc = store_truncate(r->file, end, err);
	if (rc == 0)
		r->file_size = end;
	return rc == -ENOTSUP ? error_set(err, -ENOSPC,
					  "the image needs %" PRIu64
					  " bytes and cannot grow",
					  end)
			      : rc;
}

int refcounts_claim_end(struct refcounts *r, uint64_t n, struct claim *out,
			struct qcow2_error *err)
{
	struct row row;
	SCOPED_LOCK(&r->grow_lock);
	int rc = check_broken(r, err);

	if (rc == 0)
		rc = place_row(r, n, &row, err);
	if (rc == 0)
		rc = reach_end(r, &row, err);
	if (rc == 0)
		rc = take_described(r, &row, err);
	if (rc != 0)
		return rc;
	if (row.n_blocks) {
		rc = write_row_blocks(r, &row, err);
		if (rc == 0)
			rc = link_row_blocks(r, &row, err);
		if (rc < 0)
			tell_old(r, row.n_blocks << r->geo->cluster_bits,
				 (row.first + row.n) << r->geo->cluster_bits);
	}
	*out = (struct claim){ row.first << r->geo->cluster_bits, n, true };
	return rc;
}
