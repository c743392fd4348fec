/*
 * Clusters in a row, which tables need: the first gap that is long enough, else
 * the end of the file.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/block.h"
#include "counts/file.h"
#include "counts/grow.h"
#include "counts/refcounts.h"
#include "counts/view.h"

enum { READ_AT_ONCE = 512 };

/* ---- In a gap ------------------------------------------------------------ */

int refcounts_find_row(struct refcounts *r, uint64_t n, uint64_t end,
		       uint64_t *first, struct qcow2_error *err)
{
	uint64_t values[READ_AT_ONCE];
	uint64_t at = refcounts_first_candidate(r);
	uint64_t n_free = 0;

	for (; at < end; at += READ_AT_ONCE) {
		uint64_t part = min_u64(READ_AT_ONCE, end - at);
		int rc = refcounts_read(r, part, at, values, err);

		if (rc < 0)
			return rc;
		for (uint64_t i = 0; i < part; i++) {
			n_free = values[i] ? 0 : n_free + 1;
			*first = at + i + 1 - n_free;
			if (n_free == n)
				return 0;
		}
	}
	return 1;
}

/* A cluster that is cut off by the end of the file does not count. */
static uint64_t whole_clusters(struct refcounts *r)
{
	SCOPED_LOCK(&r->grow_lock);

	return r->file_size >> r->geo->cluster_bits;
}

/* 1 when there is no gap, or somebody was faster. */
static int claim_gap(struct refcounts *r, uint64_t n, struct claim *out,
		     struct qcow2_error *err)
{
	uint32_t bits = r->geo->cluster_bits;
	uint64_t first;
	int rc = refcounts_find_row(r, n, whole_clusters(r), &first, err);

	if (rc == 0)
		rc = refcounts_take(r, n, first, err);
	if (rc == 0)
		*out = (struct claim){ first << bits, n, false };
	return rc;
}

/* ---- At the end of the file ---------------------------------------------- */

/* A place at the end of the file, and the blocks that regions of it lack,
 * which come right behind it. */
struct row_plan {
	uint64_t first; /* cluster index */
	uint64_t n;
	uint64_t n_blocks;
};

static uint64_t row_end(const struct row_plan *row)
{
	return row->first + row->n + row->n_blocks;
}

static uint64_t missing_blocks(const struct refcounts *r,
			       const struct row_plan *row)
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
static void plan_row(struct refcounts *r, uint64_t n, struct row_plan *row)
{
	SCOPED_LOCK(&r->lock);
	uint64_t blocks = 0;

	*row = (struct row_plan){ row_place(r), n, 0 };
	do {
		row->n_blocks = blocks;
		blocks = missing_blocks(r, row);
	} while (blocks > row->n_blocks);
}

/* The table grows so far that the row has room behind the new one. */
static int grow_for_row(struct refcounts *r, const struct row_plan *row,
			struct qcow2_error *err)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t regions =
		((row_end(row) - 1) >> bits) - (row->first >> bits) + 1;

	return refcounts_grow_table(r, regions, err);
}

/* Finds the place; the table is long enough for it then.  A new table lies at
 * the end itself, and the row behind it: if that is more than the table was
 * made for, it grows again.  Each is longer than the last, so that the limit of
 * tables ends this. */
static int place_row(struct refcounts *r, uint64_t n, struct row_plan *row,
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
		refcounts_take_end(r, n + row->n_blocks, row->first);
	return rc;
}

static bool has_block(const struct refcounts *r, uint64_t index)
{
	return r->table[index] != 0;
}

/* Walks the regions of the row; @index of the next one, [*from, *to) in it. */
static bool next_region(const struct refcounts *r, const struct row_plan *row,
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
static int write_row_blocks(struct refcounts *r, const struct row_plan *row,
			    struct qcow2_error *err)
{
	uint64_t place = row->first + row->n;
	uint64_t index, from, to = row->first;
	int rc = 0;

	while (rc == 0 && next_region(r, row, &index, &from, &to)) {
		uint64_t host_off = place << r->geo->cluster_bits;

		if (has_block(r, index))
			continue;
		rc = refcounts_tell_new(r, r->geo->cluster_size, host_off, err);
		if (rc == 0)
			rc = block_write(r, to - from, from, host_off, err);
		place++;
	}
	return rc;
}

/* O11: all blocks are durable before the first table entry. */
static int link_row_blocks(struct refcounts *r, const struct row_plan *row,
			   struct qcow2_error *err)
{
	uint64_t place = row->first + row->n;
	uint64_t index, from, to = row->first;
	int rc = refcounts_barrier(r, err);

	while (rc == 0 && next_region(r, row, &index, &from, &to)) {
		if (has_block(r, index))
			continue;
		block_link(r, index, place << r->geo->cluster_bits);
		place++;
	}
	return rc;
}

/* Counts the clusters that lie in regions with blocks of their own; 1 when
 * somebody was faster. */
static int take_described(struct refcounts *r, const struct row_plan *row,
			  struct qcow2_error *err)
{
	uint64_t index, from, to = row->first;
	int rc = 0;

	while (rc == 0 && next_region(r, row, &index, &from, &to))
		if (has_block(r, index))
			rc = refcounts_take(r, to - from, from, err);
	return rc;
}

/* Claims @n clusters in a row at the end of the file, with the refcount blocks
 * that describe them; 1, and nothing is claimed, when somebody was faster. */
static int claim_end(struct refcounts *r, uint64_t n, struct claim *out,
		     struct qcow2_error *err)
{
	struct row_plan row;
	SCOPED_LOCK(&r->grow_lock);
	int rc = refcounts_check(r, err);

	if (rc == 0)
		rc = place_row(r, n, &row, err);
	if (rc == 0)
		rc = refcounts_extend_to(
			r, row_end(&row) << r->geo->cluster_bits, err);
	if (rc == 0)
		rc = take_described(r, &row, err);
	if (rc != 0)
		return rc;
	if (row.n_blocks) {
		rc = write_row_blocks(r, &row, err);
		if (rc == 0)
			rc = link_row_blocks(r, &row, err);
		if (rc < 0)
			refcounts_tell_old(
				r, row.n_blocks << r->geo->cluster_bits,
				(row.first + row.n) << r->geo->cluster_bits);
	}
	*out = (struct claim){ row.first << r->geo->cluster_bits, n, true };
	return rc;
}

int refcounts_claim_row(struct refcounts *r, uint64_t n, struct claim *out,
			struct qcow2_error *err)
{
	int rc = refcounts_claim(r, n, out, err);

	assert(rc < 0 || out->n_clusters <= n);
	if (rc < 0 || out->n_clusters == n)
		return rc;
	refcounts_unclaim(r, out);
	rc = claim_gap(r, n, out, err);
	while (rc == 1)
		rc = claim_end(r, n, out, err);
	return rc;
}
