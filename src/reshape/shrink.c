/*
 * Shrinking the disk (O15).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "counts/shrink.h"
#include "image/image.h"
#include "reshape/resize.h"
#include "store/store.h"
#include "write/change.h"
#include "write/entry.h"
#include "write/l1_grow.h"
#include "write/tables.h"
#include "write/tree.h"
#include "write/write.h"
#include "write/writer.h"

/* Runs that may be on the way to being freed before a commit sees to it: the
 * more they are, the more of them lie together and are given back at once.
 * They take 24 MiB, and as much again when they are sorted. */
enum { FREED_MAX = 1 << 20 };

/* ---- The table in which the disk ends ------------------------------------ */

static struct change reshape_shrink_cut_cluster(const struct image *img,
						struct l2_entry old,
						uint64_t guest_off,
						unsigned flags)
{
	(void)img;
	(void)guest_off;
	(void)flags;
	return (struct change){ .skip = !old.desc && !old.bitmap,
				.frees = true,
				.frees_space = true };
}

/* ---- Tables behind it ---------------------------------------------------- */

/* An L2 table, read past the cache: nothing in it is waiting to be written. */
struct reshape_shrink_table {
	uint8_t *bytes;
	uint64_t host_off;
	uint64_t guest_off; /* of its first entry */
	bool is_empty;      /* known to point to nothing, and not read */
};

/* Damage is found before anything is freed.  *n_freed: runs that will be. */
static int reshape_shrink_check_table(struct image *img,
				      const struct reshape_shrink_table *t,
				      uint64_t *n_freed,
				      struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	uint64_t n = geometry_l2_entries(g);
	uint64_t i = l2_next_used(g, t->bytes, 0, n);

	for (*n_freed = 0; i < n; i = l2_next_used(g, t->bytes, i + 1, n)) {
		int rc = entry_check(img, l2_get(g, t->bytes, i),
				     t->guest_off + (i << g->cluster_bits),
				     err);

		if (rc < 0)
			return rc;
		++*n_freed;
	}
	return 0;
}

static void free_entries(struct image *img,
			 const struct reshape_shrink_table *t)
{
	const struct geometry *g = &img->geo;
	uint64_t n = geometry_l2_entries(g);
	uint64_t i = l2_next_used(g, t->bytes, 0, n);

	for (; i < n; i = l2_next_used(g, t->bytes, i + 1, n))
		entry_free(img, l2_get(g, t->bytes, i), true);
}

static int reshape_shrink_read_table(struct image *img, const struct tree *cut,
				     uint64_t index,
				     struct reshape_shrink_table *t,
				     struct qcow2_error *err)
{
	uint64_t entry = map_l1_entry(&img->map, index);
	int rc = tables_check_entry(img, index, entry, err);

	t->host_off = l1_table_off(entry);
	t->guest_off = index * geometry_l2_reach(&img->geo);
	t->is_empty = tree_points_nowhere(cut, &img->geo, t->host_off);
	if (rc < 0 || !t->host_off || t->is_empty)
		return rc;
	return store_pread(img->file, t->bytes, img->geo.cluster_size,
			   t->host_off, 0, err);
}

/* The L1 entry goes in the same commit as all that the table pointed to: there
 * is none in between, since the image is ours. */
static int reshape_shrink_cut_table(struct image *img, const struct tree *cut,
				    uint64_t index,
				    struct reshape_shrink_table *t,
				    uint64_t *n_freed, struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	int rc = reshape_shrink_read_table(img, cut, index, t, err);

	*n_freed = 0;
	if (rc == 0 && t->host_off && !t->is_empty)
		rc = reshape_shrink_check_table(img, t, n_freed, err);
	if (rc == 0)
		rc = commit_begin(c, *n_freed + 1, err);
	if (rc < 0)
		return rc;
	commit_set_l1(c, index, 0);
	if (t->host_off) {
		guard_remove(&img->writer->guard, QCOW2_OVERLAP_ACTIVE_L2, 1,
			     t->host_off);
		commit_free(c, (struct freed){ t->host_off, 1, true });
		if (*n_freed)
			free_entries(img, t);
	}
	commit_end(c);
	return 0;
}

static int cut_tables(struct image *img, const struct tree *cut, uint64_t first,
		      struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *bytes = malloc(img->geo.cluster_size);
	struct reshape_shrink_table t = { .bytes = bytes };
	uint64_t n_waiting = 0;
	int rc = 0;

	if (!bytes)
		return error_nomem(err, "an L2 table", img->geo.cluster_size);
	for (uint64_t i = first; rc == 0 && i < img->map.l1.n_entries; i++) {
		uint64_t n_freed;

		if (!map_l1_entry(&img->map, i))
			continue;
		rc = reshape_shrink_cut_table(img, cut, i, &t, &n_freed, err);
		n_waiting += n_freed + 1;
		if (rc == 0 && n_waiting >= FREED_MAX) {
			rc = image_flush(img, err);
			n_waiting = 0;
		}
	}
	return rc;
}

/* ---- Entries ------------------------------------------------------------- */

/* Collects the tables below the L1 entries that go, before anything changes: so
 * if there are too many, the error leaves the disk as it was. */
static int reshape_shrink_look(struct image *img, uint64_t size,
			       struct tree *cut, struct qcow2_error *err)
{
	uint64_t first = geometry_l1_entries(&img->geo, size);
	int rc = tree_read(cut, img, l1_entries_in_file(img),
			   img->header.l1_off, err);

	if (rc == 0 && cut->n_l1)
		memset(cut->l1, 0,
		       to_size(min_u64(first, cut->n_l1) * sizeof(*cut->l1)));
	return rc < 0 ? rc : tree_allow_walk(img, cut, err);
}

static int cut_entries(struct image *img, const struct tree *cut, uint64_t size,
		       struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	uint64_t n_tables = geometry_l1_entries(g, size);
	int rc = l1_lengthen(img, l1_entries_in_file(img), err);

	if (rc == 0)
		rc = change_clusters(img, n_tables * geometry_l2_reach(g),
				     align_up(size, g->cluster_size),
				     reshape_shrink_cut_cluster, 0, err);
	if (rc == 0)
		rc = cut_tables(img, cut, n_tables, err);
	if (rc == 0)
		rc = commit_drain(&img->writer->commit, err);
	if (rc == 0)
		rc = l1_shorten(img, n_tables, err);
	return rc;
}

/* ---- The cluster in which the disk ends ---------------------------------- */

/* The next extent of the image's own data in [*off, end): none when *len is 0.
 * Data that cannot be read could never be seen again, so it does not count. */
static void own_data(struct image *img, uint64_t end, uint64_t *off,
		     uint64_t *len)
{
	for (*len = 0; *off < end; *off += *len) {
		struct image_extent x;

		*len = 0;
		if (image_map(img, end - *off, *off, 0, &x, NULL) < 0)
			return;
		*len = x.len;
		if (x.kind == SUBCLUSTER_NORMAL ||
		    x.kind == SUBCLUSTER_COMPRESSED)
			return;
	}
	*len = 0;
}

/*
 * We zero what a disk grows by; other programs do not, and would show what was
 * there when it was larger.  The size is durable: nobody misses these bytes.
 * Data in a shared or compressed cluster is copied, as for any other write.  A
 * data file is cut off itself.
 */
static int reshape_shrink_zero_rest(struct image *img, uint64_t size,
				    struct qcow2_error *err)
{
	uint64_t end = align_up(size, img->geo.cluster_size);
	uint64_t off = size, len;
	int rc = 0;

	if (img->geo.has_data_file)
		return 0;
	/* For so long these bytes belong to the disk. */
	img->virtual_size = end;
	for (own_data(img, end, &off, &len); rc == 0 && len;
	     own_data(img, end, &off, &len)) {
		rc = image_zero(img, len, off, WRITE_UNSEEN, err);
		off += len;
	}
	img->virtual_size = size;
	return rc;
}

/* ---- All of it ----------------------------------------------------------- */

/* Blocks that the removal of others empties go in the next round. */
static int cut_refcounts(struct image *img, struct qcow2_error *err)
{
	bool more = true;
	int rc;

	alloc_give_back(&img->writer->alloc);
	rc = commit_drain(&img->writer->commit, err);
	while (rc == 0 && more) {
		rc = refcounts_shrink(&img->writer->refs, &more, err);
		if (rc == 0)
			rc = commit_drain(&img->writer->commit, err);
	}
	return rc;
}

static int shrink(struct image *img, const struct tree *cut, uint64_t size,
		  struct qcow2_error *err)
{
	int rc = resize_switch(img, size, err);

	if (rc < 0)
		return rc;
	img->virtual_size = size;
	rc = cut_entries(img, cut, size, err);
	if (rc == 0)
		rc = reshape_shrink_zero_rest(img, size, err);
	if (rc == 0 && img->geo.has_data_file)
		rc = store_truncate(img->data, size, err);
	if (rc == 0)
		rc = cut_refcounts(img, err);
	return rc;
}

int image_shrink(struct image *img, uint64_t size, struct qcow2_error *err)
{
	struct tree cut = { 0 };
	int rc = image_flush(img, err);

	if (rc == 0)
		rc = reshape_shrink_look(img, size, &cut, err);
	if (rc == 0)
		rc = shrink(img, &cut, size, err);
	tree_release(&cut);
	return rc;
}
