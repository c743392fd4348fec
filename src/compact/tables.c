/*
 * Compaction of metadata: L2 tables, snapshots' L1 tables and their list, the
 * active L1 table, refcount blocks and their table.
 *
 * The clusters of a table lie in a row.  Tables move before data, so that they
 * find rows that are long enough; no other cluster is moved to make room.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "compact/compact.h"
#include "counts/relocate.h"
#include "counts/used.h"
#include "image/image.h"
#include "snapshot/table.h"
#include "store/store.h"
#include "write/header_sector.h"
#include "write/l1_grow.h"
#include "write/tree.h"
#include "write/writer.h"

/* ---- L2 tables ----------------------------------------------------------- */

static int compact_tables_flush(struct compact *c, struct qcow2_error *err)
{
	return commit_flush(&c->img->writer->commit, err);
}

static uint64_t moved_table(const struct compact *c, uint64_t l1_entry)
{
	uint32_t bits = c->img->geo.cluster_bits;
	const struct move *m = compact_find(c, l1_table_off(l1_entry) >> bits);

	return m ? (l1_entry & ~ENTRY_OFFSET_MASK) | m->to << bits : l1_entry;
}

static int set_l1(struct compact *c, uint64_t i, uint64_t old, uint64_t entry,
		  struct qcow2_error *err)
{
	struct writer *writer = c->img->writer;
	int rc = guard_add(&writer->guard, QCOW2_OVERLAP_ACTIVE_L2, 1,
			   l1_table_off(entry), err);

	if (rc == 0)
		rc = commit_begin(&writer->commit, 0, err);
	if (rc < 0)
		return rc;
	commit_set_l1(&writer->commit, i, entry);
	commit_order(&writer->commit);
	commit_end(&writer->commit);
	guard_remove(&writer->guard, QCOW2_OVERLAP_ACTIVE_L2, 1,
		     l1_table_off(old));
	return 0;
}

static int repoint_disk(struct compact *c, struct qcow2_error *err)
{
	const struct map *map = &c->img->map;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < map->l1.n_entries; i++) {
		uint64_t old = map_l1_entry(map, i);
		uint64_t entry = moved_table(c, old);

		if (entry != old)
			rc = set_l1(c, i, old, entry, err);
	}
	return rc;
}

/* In place: old and new table are the same and both counted, and an entry lies
 * in one sector. */
static int repoint_snapshot(struct compact *c, const struct snapshot_info *s,
			    struct qcow2_error *err)
{
	struct tree t;
	int rc = tree_read(&t, c->img, s->l1_size, s->l1_off, err);

	for (uint64_t i = 0; rc == 0 && i < t.n_l1; i++) {
		uint64_t entry = moved_table(c, t.l1[i]);
		uint8_t raw[L1_ENTRY_BYTES];

		if (entry == t.l1[i])
			continue;
		put_be64(raw, entry);
		rc = store_pwrite(c->img->file, raw, sizeof(raw),
				  s->l1_off + i * L1_ENTRY_BYTES, 0, err);
	}
	tree_release(&t);
	return rc;
}

static int repoint_tables(struct compact *c, struct qcow2_error *err)
{
	const struct snapshots *s = &c->img->snapshots;
	/* Copies and refcounts, before anything points to them. */
	int rc = compact_tables_flush(c, err);

	if (rc == 0)
		rc = repoint_disk(c, err);
	for (uint32_t i = 0; rc == 0 && i < s->n; i++)
		rc = repoint_snapshot(c, &s->list[i], err);
	return rc;
}

static void forget_old_tables(struct compact *c)
{
	const struct geometry *g = &c->img->geo;

	for (size_t i = 0; i < c->moves.n; i++)
		cache_forget(&c->img->map.l2, g->cluster_size,
			     c->moves.list[i].from << g->cluster_bits);
}

int compact_move_l2_tables(struct compact *c, struct qcow2_error *err)
{
	int rc;

	do {
		rc = compact_begin_moves(c, &c->tables, err);
		if (rc < 0 || !c->moves.n)
			return rc;
		rc = repoint_tables(c, err);
		if (rc == 0)
			rc = compact_end_moves(c, &c->tables, err);
		if (rc == 0) {
			forget_old_tables(c);
			rc = compact_progress(c, err);
		}
	} while (rc == 0);
	return rc;
}

/* ---- The active L1 table ------------------------------------------------- */

static void set_l1_place(struct header *h, void *opaque)
{
	h->l1_off = *(const uint64_t *)opaque;
}

int compact_move_l1(struct compact *c, struct qcow2_error *err)
{
	struct image *img = c->img;
	uint64_t bytes = l1_entries_in_file(img) * L1_ENTRY_BYTES;
	uint64_t old = img->header.l1_off;
	uint64_t to;
	int rc = compact_begin_table(c, old, bytes, err);

	if (rc < 0 || !c->moves.n)
		return rc;
	to = compact_place(c);
	rc = guard_add(&img->writer->guard, QCOW2_OVERLAP_ACTIVE_L1, bytes, to,
		       err);
	if (rc == 0)
		rc = header_sector_update(img, set_l1_place, &to, err);
	/* Both tables are the same, and both are counted. */
	if (rc < 0)
		return rc;
	img->map.l1.host_off = to;
	guard_remove(&img->writer->guard, GUARD_TABLES, bytes, old);
	return compact_end_moves(c, NULL, err);
}

/* ---- Snapshots ----------------------------------------------------------- */

static int copy_list(const struct snapshots *from, struct snapshots *to,
		     struct qcow2_error *err)
{
	*to = (struct snapshots){ .n = from->n };
	to->list = malloc(from->n * sizeof(*to->list));
	if (!to->list)
		return error_nomem(err, "the snapshot list",
				   from->n * sizeof(*to->list));
	memcpy(to->list, from->list, from->n * sizeof(*to->list));
	return 0;
}

static int switch_list(struct compact *c, struct snapshots *next,
		       struct qcow2_error *err)
{
	struct fresh_table table;
	int rc = snapshot_table_write(c->img, next, &table, err);

	return rc < 0 ? rc : snapshot_table_switch(c->img, next, &table, err);
}

/* 0 when the list can be written anew before the goal, 1 when not. */
static int look_for_list(struct compact *c, struct qcow2_error *err)
{
	struct image *img = c->img;
	uint64_t first;

	return refcounts_find_row(
		&img->writer->refs,
		geometry_clusters(&img->geo, img->snapshots.table_bytes),
		c->goal, &first, err);
}

/* Moves the L1 table of snapshot @i, and with it the list that names it. */
static int move_snapshot(struct compact *c, uint32_t i, struct qcow2_error *err)
{
	struct image *img = c->img;
	const struct snapshot_info *s = &img->snapshots.list[i];
	uint64_t bytes = (uint64_t)s->l1_size * L1_ENTRY_BYTES;
	uint64_t old = s->l1_off;
	struct snapshots next;
	int rc = compact_begin_table(c, old, bytes, err);

	if (rc < 0 || !c->moves.n)
		return rc;
	rc = look_for_list(c, err);
	if (rc != 0) {
		compact_undo_moves(c);
		return rc < 0 ? rc : 0;
	}
	rc = guard_add(&img->writer->guard, QCOW2_OVERLAP_INACTIVE_L1, bytes,
		       compact_place(c), err);
	if (rc == 0)
		rc = copy_list(&img->snapshots, &next, err);
	if (rc < 0)
		return rc;
	next.list[i].l1_off = compact_place(c);
	rc = switch_list(c, &next, err);
	free(next.list);
	if (rc < 0)
		return rc;
	guard_remove(&img->writer->guard, GUARD_TABLES, bytes, old);
	return compact_end_moves(c, NULL, err);
}

static bool list_is_behind(const struct compact *c)
{
	const struct image *img = c->img;
	uint64_t end = img->header.snapshots_off + img->snapshots.table_bytes;

	return img->snapshots.n && geometry_clusters(&img->geo, end) > c->goal;
}

static int move_list(struct compact *c, struct qcow2_error *err)
{
	struct image *img = c->img;
	struct snapshots next;
	int rc = list_is_behind(c) ? look_for_list(c, err) : 1;

	if (rc == 0)
		rc = copy_list(&img->snapshots, &next, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = switch_list(c, &next, err);
	free(next.list);
	return rc < 0 ? rc : compact_tables_flush(c, err);
}

int compact_move_snapshots(struct compact *c, struct qcow2_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->img->snapshots.n; i++)
		rc = move_snapshot(c, i, err);
	return rc < 0 ? rc : move_list(c, err);
}

/* ---- Refcounts ----------------------------------------------------------- */

static int move_block(struct compact *c, uint64_t i, uint64_t old,
		      struct qcow2_error *err)
{
	struct refcounts *r = &c->img->writer->refs;
	int rc = compact_begin_table(c, old, c->img->geo.cluster_size, err);

	if (rc < 0 || !c->moves.n)
		return rc;
	rc = refcounts_relocate_block(r, i, compact_place(c), err);
	return rc < 0 ? rc : compact_end_moves(c, NULL, err);
}

int compact_move_refcounts(struct compact *c, struct qcow2_error *err)
{
	struct refcounts *r = &c->img->writer->refs;
	struct reftable_place table = refcounts_table_place(r);
	uint64_t off;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && refcounts_next_block(r, &i, &off); i++)
		rc = move_block(c, i, off, err);
	if (rc == 0)
		rc = compact_begin_table(c, table.off,
					 (uint64_t)table.clusters
						 << c->img->geo.cluster_bits,
					 err);
	if (rc < 0 || !c->moves.n)
		return rc;
	rc = refcounts_relocate_table(r, compact_place(c), err);
	return rc < 0 ? rc : compact_end_moves(c, NULL, err);
}
