/*
 * New structures beside the damaged ones, and the switch to them.
 *
 * The refcounts are written anew with every replacement: that needs no place in
 * blocks that may be damaged, and one sector of the header switches everything.
 */
#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "counts/refbuild.h"
#include "repair/context.h"
#include "repair/copies.h"
#include "repair/snapshots.h"
#include "store/store.h"

/* Overlaps that hide others are few; the rest is reported. */
#define ROUNDS_MAX 3
/* Of copies of the active L1 table. */
#define SPLIT_BYTES_MAX (16 * MIB)

struct replacement {
	struct repair *r;
	bool refcounts;      /* are damaged, or too narrow */
	struct geometry geo; /* with the width of the new ones */
	bool snapshots;      /* likewise */
	bool overlaps;       /* something overlaps something */
	uint64_t start;      /* cluster index of all that is new */
	struct new_snapshots table;
	bool split;           /* snapshots get L1 tables of their own */
	uint64_t n_l1;        /* their clusters, from `start` on */
	uint64_t n_table;     /* clusters of the table, behind them */
	struct copies copies; /* behind that */
	struct header_switch header;
};

/* ---- What is wrong ------------------------------------------------------- */

static bool block_is_bad(const struct repair *r, uint64_t off)
{
	return off && (off == REFBLOCK_UNKNOWN || !repair_is_sole(r, off));
}

/* A cluster is in use that no block counts. */
static bool lacks_blocks(const struct repair *r)
{
	const struct refblocks *b = &r->c.refblocks;
	const struct refs *refs = &r->c.refs;

	for (size_t i = 0; i < refs->n_chunks; i++)
		for (uint32_t k = 0; k < REFS_CHUNK_CLUSTERS; k++) {
			uint64_t idx =
				(refs->chunks[i].idx << REFS_CHUNK_BITS) + k;
			uint64_t block = idx >> r->c.geo.refcount_block_bits;

			if (refs_count(refs->chunks[i].words[k]) &&
			    (block >= b->n || !b->offs[block]))
				return true;
		}
	return false;
}

static bool table_overlaps(const struct repair *r)
{
	uint64_t off = r->c.header.refcount_table_off;
	uint64_t n = r->c.header.refcount_table_clusters;

	for (uint64_t i = 0; i < n; i++)
		if (!repair_is_sole(r, off + (i << r->c.geo.cluster_bits)))
			return true;
	return false;
}

static bool refcounts_are_damaged(const struct repair *r)
{
	static const enum defect bad[] = {
		DEFECT_HEADER_REFCOUNT_TABLE_EMPTY,
		DEFECT_HEADER_REFCOUNT_TABLE_OFFSET,
		DEFECT_REFCOUNT_TABLE_ENTRY_UNALIGNED,
		DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED,
		DEFECT_REFCOUNT_BLOCK_BEYOND_EOF,
		DEFECT_REFCOUNT_BLOCK_SHARED,
	};
	const struct refblocks *b = &r->c.refblocks;

	if (!r->c.header.refcount_table_clusters)
		return true;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (defect_set_has(&r->c.report.found, bad[i]))
			return true;
	for (size_t i = 0; i < b->n; i++)
		if (block_is_bad(r, b->offs[i]))
			return true;
	return table_overlaps(r) || lacks_blocks(r);
}

/* The most references that any cluster has. */
static uint32_t count_most(const struct repair *r)
{
	const struct refs *refs = &r->c.refs;
	uint32_t most = 0;

	for (size_t i = 0; i < refs->n_chunks; i++)
		for (uint32_t k = 0; k < REFS_CHUNK_CLUSTERS; k++) {
			uint32_t n = refs_count(refs->chunks[i].words[k]);

			most = n > most ? n : most;
		}
	return most;
}

/* Version 2 has one width. */
static bool are_too_narrow(const struct repair *r)
{
	return r->what == REPAIR_ALL && r->c.header.version >= 3 &&
	       count_most(r) > r->c.geo.refcount_max;
}

/* As wide as they are, or as what they have to say. */
static struct geometry new_width(const struct repair *r)
{
	struct header h = r->c.header;
	struct geometry g = r->c.geo;

	if (!are_too_narrow(r))
		return g;
	h.refcount_order = geometry_refcount_order(count_most(r));
	geometry_init(&g, &h);
	return g;
}

/* The first cluster behind everything that is referred to. */
static uint64_t end_of_use(const struct repair *r)
{
	const struct refs *refs = &r->c.refs;
	uint64_t end = 1;

	for (size_t i = 0; i < refs->n_chunks; i++)
		for (uint32_t k = 0; k < REFS_CHUNK_CLUSTERS; k++)
			if (refs_count(refs->chunks[i].words[k]))
				end = max_u64(end, (refs->chunks[i].idx
						    << REFS_CHUNK_BITS) +
							   k + 1);
	/* Unread metadata may refer to clusters up to the end of the file. */
	if (r->c.report.incomplete)
		end = max_u64(end,
			      geometry_clusters(&r->c.geo, r->c.file_size));
	return end;
}

/* ---- Where the new refcounts come from ----------------------------------- */

static uint64_t placed_end(const struct replacement *n)
{
	return n->start + n->n_l1 + n->n_table + n->copies.n_wanted;
}

static size_t chunk_at_or_after(const struct refs *refs, uint64_t chunk_idx)
{
	size_t low = 0;
	size_t high = refs->n_chunks;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (refs->chunks[mid].idx < chunk_idx)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int source_next(void *opaque, uint64_t idx, uint64_t *found,
		       struct qcow2_error *err)
{
	const struct replacement *n = opaque;
	const struct refs *refs = &n->r->c.refs;
	size_t i = chunk_at_or_after(refs, idx >> REFS_CHUNK_BITS);

	(void)err;
	*found = UINT64_MAX;
	if (i < refs->n_chunks)
		*found = max_u64(idx, refs->chunks[i].idx << REFS_CHUNK_BITS);
	if (idx < placed_end(n) && placed_end(n) > n->start)
		*found = min_u64(*found, max_u64(idx, n->start));
	return 0;
}

static uint64_t placed_count(const struct replacement *n, uint64_t idx)
{
	uint64_t tables = n->start + n->n_l1 + n->n_table;

	return idx < tables ? 1 : n->copies.counts[idx - tables];
}

static int source_get(void *opaque, uint64_t idx, uint32_t n_clusters,
		      uint64_t *values, struct qcow2_error *err)
{
	const struct replacement *n = opaque;
	uint64_t count_max = n->geo.refcount_max;

	(void)err;
	for (uint32_t k = 0; k < n_clusters; k++) {
		uint64_t i = idx + k;
		uint64_t count =
			i >= n->start ? placed_count(n, i)
				      : refs_count(refs_get(&n->r->c.refs, i));

		values[k] = min_u64(count, count_max);
	}
	return 0;
}

/* ---- Writing ------------------------------------------------------------- */

static uint64_t table_off(const struct replacement *n)
{
	return (n->start + n->n_l1) << n->r->c.geo.cluster_bits;
}

static int write_snapshots(const struct replacement *n, struct qcow2_error *err)
{
	int rc = 0;

	if (n->n_l1)
		rc = snapshots_copy_l1(
			n->r, n->start << n->r->c.geo.cluster_bits, err);
	if (rc < 0 || !n->table.len)
		return rc;
	return store_pwrite(n->r->file, n->table.buf, n->table.len,
			    table_off(n), 0, err);
}

/* Snapshot table, copies, refcounts: durable when it returns. */
static int repair_replace_write_new(struct replacement *n,
				    struct qcow2_error *err)
{
	struct refbuild_source source = { n, source_next, source_get };
	struct repair *r = n->r;
	struct refbuild built;
	int rc = write_snapshots(n, err);

	if (rc == 0)
		rc = copies_write(r, &n->copies, err);
	if (rc == 0)
		rc = refbuild_write(r->file, &n->geo, &source,
				    placed_end(n) << r->c.geo.cluster_bits,
				    &built, err);
	if (rc < 0)
		return rc;
	n->header = (struct header_switch){
		.refcount_table_off = built.table_off,
		.refcount_table_clusters = built.table_clusters,
		.refcount_order = n->geo.refcount_order,
		.n_snapshots = r->c.header.n_snapshots,
		.snapshots_off = r->c.header.snapshots_off,
	};
	if (n->snapshots) {
		n->header.n_snapshots = n->table.n;
		n->header.snapshots_off = n->table.n ? table_off(n) : 0;
	}
	return 0;
}

/* ---- Telling ------------------------------------------------------------- */

static struct defect_set what_is_told(const struct replacement *n)
{
	struct defect_set set = { { 0 } };

	defect_set_add(&set, DEFECT_HEADER_REFCOUNT_TABLE_EMPTY);
	defect_set_add(&set, DEFECT_HEADER_REFCOUNT_TABLE_OFFSET);
	defect_set_add(&set, DEFECT_HEADER_L1_OFFSET);
	defect_set_add(&set, DEFECT_REFCOUNT_TABLE_ENTRY_UNALIGNED);
	defect_set_add(&set, DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED);
	defect_set_add(&set, DEFECT_REFCOUNT_BLOCK_BEYOND_EOF);
	defect_set_add(&set, DEFECT_REFCOUNT_BLOCK_SHARED);
	defect_set_add(&set, DEFECT_REFCOUNT_TOO_LOW);
	defect_set_add(&set, DEFECT_REFCOUNT_LEAK);
	if (n->snapshots) {
		defect_set_add(&set, DEFECT_HEADER_SNAPSHOT_COUNT);
		defect_set_add(&set, DEFECT_HEADER_SNAPSHOT_OFFSET);
		defect_set_add(&set, DEFECT_SNAPSHOT_TABLE);
		defect_set_add(&set, DEFECT_SNAPSHOT_EXTRA_SIZE);
		defect_set_add(&set, DEFECT_SNAPSHOT_EXTRA_MISSING);
		defect_set_add(&set, DEFECT_SNAPSHOT_L1_EMPTY);
	}
	if (!copies_left(&n->copies))
		defect_set_add(&set, DEFECT_CLUSTER_OVERLAP);
	return set;
}

/* Tells, from a check of the image as it still is, all that the switch is about
 * to mend. */
static int repair_replace_tell(const struct replacement *n,
			       struct qcow2_error *err)
{
	struct defect_set only = what_is_told(n);
	struct qcow2_check_result counted = { 0 };
	struct repair *r = n->r;
	struct check c;
	int rc;

	check_begin(&c, r->file, &r->aloud, &counted);
	c.mode.tolerant = r->what == REPAIR_ALL;
	c.mode.any_width = true;
	c.report.only = &only;
	c.report.action = QCOW2_ACTION_REPAIRED;
	rc = check_run(&c, err);
	check_end(&c);
	r->fixed.corruptions_fixed += counted.corruptions;
	r->fixed.leaks_fixed += counted.leaks;
	return rc;
}

/* -------------------------------------------------------------------------- */

/* Of two tables in one place only the one that makes sense is there. */
static int judge_l1(const struct repair *r, struct qcow2_error *err)
{
	struct defect_set found = r->c.report.found;

	for (int d = 1; d < DEFECT_COUNT; d++)
		if (d != DEFECT_HEADER_REFCOUNT_TABLE_EMPTY &&
		    d != DEFECT_REFCOUNT_TOO_LOW && d != DEFECT_COPIED_FLAG &&
		    defect_info(d)->severity >= DEFECT_SEVERITY_CORRUPTION &&
		    d != DEFECT_HEADER_DIRTY_BIT &&
		    d != DEFECT_HEADER_CORRUPT_BIT &&
		    d != DEFECT_EXTENSION_FEATURE_TABLE &&
		    defect_set_has(&found, (enum defect)d))
			return error_defect(err, -EINVAL,
					    DEFECT_HEADER_L1_OFFSET,
					    HEADER_OFF_L1_OFF,
					    "the header says that L1 table and "
					    "refcount table are in one place, "
					    "and it is not the L1 table that "
					    "is there");
	return 0;
}

/* Writes and switches, if the image as it would be can be followed to its end,
 * and there is anything to do. */
static int repair_replace_carry_out(struct replacement *n, bool *done,
				    struct qcow2_error *err)
{
	struct repair *r = n->r;
	int rc;

	if (r->c.report.incomplete ||
	    (!n->refcounts && !n->snapshots && !n->copies.n_wanted))
		return 0;
	rc = repair_replace_write_new(n, err);
	if (rc == 0)
		rc = repair_replace_tell(n, err);
	if (rc == 0)
		rc = repair_switch(r, &n->header, err);
	if (rc < 0)
		return rc;
	*done = true;
	r->stale = true;
	if (!n->copies.n_wanted)
		return 0;
	rc = copies_link(r, &n->copies, err);
	return rc < 0 ? rc : repair_barrier(r, err);
}

static int repair_replace_plan(struct replacement *n, struct qcow2_error *err)
{
	struct repair *r = n->r;
	uint32_t bits = r->c.geo.cluster_bits;
	int rc = 0;

	n->geo = new_width(r);
	n->start = max_u64(n->start, end_of_use(r));
	n->n_l1 = n->split ? r->c.l1_tables.n_shared_clusters : 0;
	if (n->snapshots)
		rc = snapshots_renew(r, n->start << bits, &n->table, err);
	if (rc < 0)
		return rc;
	n->n_table = div_round_up(n->table.len, UINT64_C(1) << bits);
	if (n->overlaps && r->what == REPAIR_ALL)
		rc = copies_plan(r, &n->copies, err);
	copies_place(&n->copies, n->start + n->n_l1 + n->n_table);
	return rc;
}

/* As long as that costs little: each snapshot may share a table of 32 MiB. */
static bool must_split(const struct repair *r)
{
	uint64_t n = r->c.l1_tables.n_shared_clusters;

	return r->what == REPAIR_ALL && n &&
	       n <= SPLIT_BYTES_MAX >> r->c.geo.cluster_bits;
}

static int replace_once(struct repair *r, bool *done, struct qcow2_error *err)
{
	struct replacement n = {
		.r = r,
		.refcounts = refcounts_are_damaged(r) || are_too_narrow(r),
		.snapshots = r->what == REPAIR_ALL &&
			     (snapshots_are_damaged(r) || must_split(r)),
		.split = must_split(r),
		.overlaps = defect_set_has(&r->c.report.found,
					   DEFECT_CLUSTER_OVERLAP),
		.start = end_of_use(r),
	};
	struct check_mode mode = {
		.tolerant = r->what == REPAIR_ALL,
		.no_refcounts = true,
		.no_snapshot_table = n.snapshots,
		.split_l1 = n.split,
	};
	bool doubted;
	size_t moved;
	int rc;

	if (!n.refcounts && !n.snapshots && !n.overlaps)
		return 0;
	doubted = r->c.l1_doubted;
	rc = repair_look(r, mode, false, err);
	if (rc == 0 && doubted)
		rc = judge_l1(r, err);
	if (rc == 0)
		rc = repair_replace_plan(&n, err);
	if (rc == 0)
		rc = repair_replace_carry_out(&n, done, err);
	moved = n.copies.n_wanted;
	snapshots_drop(r, &n.table);
	copies_drop(r, &n.copies);
	/* Clusters that the copies replaced are not leaks of the image. */
	if (rc == 0 && *done && moved)
		rc = repair_look_again(r, err);
	if (rc == 0 && *done && moved)
		rc = repair_lower(r, false, err);
	r->stale = true;
	return rc;
}

int repair_replace(struct repair *r, struct qcow2_error *err)
{
	bool again = true;
	int rc = snapshots_shorten(r, err);

	for (int i = 0; rc == 0 && again && i < ROUNDS_MAX; i++) {
		again = false;
		rc = repair_look_again(r, err);
		if (rc == 0)
			rc = replace_once(r, &again, err);
	}
	return rc;
}
