/*
 * The clusters that the trees of an image refer to, for compaction.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "compact/compact.h"
#include "counts/used.h"
#include "image/image.h"
#include "store/store.h"
#include "write/l1_grow.h"
#include "write/tree.h"
#include "write/writer.h"

static int bad_table(uint64_t entry, enum defect bad, struct qcow2_error *err)
{
	return error_defect(err, -EIO, (int)bad, l1_table_off(entry),
			    "%s (L1 entry 0x%" PRIx64 ")",
			    defect_info((int)bad)->text, entry);
}

static int no_refcount(uint64_t off, struct qcow2_error *err)
{
	return error_defect(err, -EIO, DEFECT_REFCOUNT_TOO_LOW, off,
			    "the L2 table at %" PRIu64
			    " has no refcount block: the image must be "
			    "repaired first",
			    off);
}

uint64_t compact_n_described(const struct compact *c)
{
	return min_u64(geometry_clusters(&c->img->geo, image_file_end(c->img)),
		       refcounts_described_end(c->refs));
}

static int each_of_tree(struct compact *c, struct tree *t,
			struct bitset *visited, compact_table_fn *fn,
			struct qcow2_error *err)
{
	const struct geometry *g = &c->img->geo;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < t->n_l1; i++) {
		uint64_t off = l1_table_off(t->l1[i]);
		enum defect bad;

		if (!off)
			continue;
		bad = l1_entry_defect(g, t->l1[i], image_file_end(c->img));
		if (bad && bad != DEFECT_L1_ENTRY_RESERVED)
			return bad_table(t->l1[i], bad, err);
		if (off >> g->cluster_bits >= visited->n_bits)
			return no_refcount(off, err);
		if (bitset_test(visited, off >> g->cluster_bits))
			continue;
		bitset_set(visited, off >> g->cluster_bits);
		rc = fn(c, off, err);
	}
	return rc;
}

static int each_of_l1(struct compact *c, uint64_t n, uint64_t l1_off,
		      struct bitset *visited, compact_table_fn *fn,
		      struct qcow2_error *err)
{
	struct tree t;
	int rc = tree_read(&t, c->img, n, l1_off, err);

	if (rc == 0)
		rc = each_of_tree(c, &t, visited, fn, err);
	tree_release(&t);
	return rc;
}

int compact_each_table(struct compact *c, compact_table_fn *fn,
		       struct qcow2_error *err)
{
	struct image *img = c->img;
	uint64_t n_clusters = compact_n_described(c);
	struct bitset visited;
	int rc;

	if (!bitset_init(&visited, n_clusters))
		return error_nomem(err, "the set of L2 tables", n_clusters / 8);
	rc = each_of_l1(c, l1_entries_in_file(img), img->header.l1_off,
			&visited, fn, err);
	for (uint32_t i = 0; rc == 0 && i < img->snapshots.n; i++) {
		const struct snapshot_info *s = &img->snapshots.list[i];

		rc = each_of_l1(c, s->l1_size, s->l1_off, &visited, fn, err);
	}
	bitset_release(&visited);
	return rc;
}

/* ---- Scanning ------------------------------------------------------------ */

/* Marks the clusters of [off, end). */
static void scan_mark(struct compact *c, struct bitset *set, uint64_t off,
		      uint64_t end)
{
	uint32_t bits = c->img->geo.cluster_bits;

	for (uint64_t i = off >> bits; i << bits < end && i < set->n_bits; i++)
		bitset_set(set, i);
}

/* Clusters that compressed data touches move as compressed data or not at
 * all. */
static void part_sets(struct compact *c)
{
	for (uint64_t i = 0; i <= c->packed.n_bits / 64; i++) {
		c->data.words[i] &= ~c->packed.words[i];
		c->tables.words[i] &= ~c->packed.words[i];
	}
}

static int scan_entry(struct compact *c, struct l2_entry e, uint64_t at,
		      struct qcow2_error *err)
{
	const struct geometry *g = &c->img->geo;
	uint64_t off = l2_host_off(e);

	if (g->has_data_file)
		return 0;
	if (e.desc & L2_COMPRESSED) {
		struct compressed z = compressed_decode(g, e.desc);

		scan_mark(c, &c->packed, z.host_off, z.host_off + z.len);
		return 0;
	}
	if (!off)
		return 0;
	if (!is_aligned(off, g->cluster_size) || off >= image_file_end(c->img))
		return error_defect(err, -EIO, DEFECT_L2_ENTRY_UNALIGNED, at,
				    "an L2 entry points to host offset %" PRIu64
				    ", where no cluster begins: the image "
				    "must be repaired first",
				    off);
	scan_mark(c, &c->data, off, off + 1);
	return 0;
}

static int scan_table(struct compact *c, uint64_t table_off,
		      struct qcow2_error *err)
{
	const struct geometry *g = &c->img->geo;
	CLEANUP_FREE uint8_t *table = malloc(g->cluster_size);
	int rc;

	if (!table)
		return error_nomem(err, "an L2 table", g->cluster_size);
	scan_mark(c, &c->tables, table_off, table_off + 1);
	rc = store_pread(c->img->file, table, g->cluster_size, table_off, 0,
			 err);
	for (uint64_t i = 0; rc == 0 && i < geometry_l2_entries(g); i++)
		rc = scan_entry(c, l2_get(g, table, i),
				table_off + i * g->l2_entry_bytes, err);
	return rc;
}

/* Tables behind the disk's end, which memory does not have, stay. */
static int keep_hidden_tables(struct compact *c, struct qcow2_error *err)
{
	struct image *img = c->img;
	struct tree t;
	int rc = tree_read(&t, img, l1_entries_in_file(img), img->header.l1_off,
			   err);

	for (uint64_t i = img->map.l1.n_entries; rc == 0 && i < t.n_l1; i++) {
		uint64_t cluster = l1_table_off(t.l1[i]) >>
				   img->geo.cluster_bits;

		if (cluster < c->tables.n_bits)
			bitset_clear(&c->tables, cluster);
	}
	tree_release(&t);
	return rc;
}

int compact_scan(struct compact *c, struct qcow2_error *err)
{
	int rc = compact_each_table(c, scan_table, err);

	part_sets(c);
	return rc < 0 ? rc : keep_hidden_tables(c, err);
}
