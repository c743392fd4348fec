#include "write/copied_flags.h"

#include "base/checked.h"
#include "image/image.h"
#include "write/tree.h"
#include "write/writer.h"

/* ---- Changing ------------------------------------------------------------ */

/* One L2 table, and the part of it that has changed and is not written yet:
 * whole slices of the cache. */
struct copied_flags_table {
	struct image *img;
	uint8_t *bytes;
	uint64_t host_off;
	uint64_t from;
	uint64_t end;
};

static int copied_flags_write_changed(struct copied_flags_table *t,
				      struct qcow2_error *err)
{
	uint64_t from = t->from;
	uint64_t len = t->end - from;

	t->from = t->end;
	if (!len)
		return 0;
	return commit_rewrite_l2(&t->img->writer->commit, t->bytes + from, len,
				 t->host_off + from, err);
}

/* Entries come in order. */
static int copied_flags_change_entry(struct copied_flags_table *t, uint64_t i,
				     struct l2_entry e, struct qcow2_error *err)
{
	uint64_t slice = t->img->map.l2.slice_bytes;
	uint64_t at = align_down(i * t->img->geo.l2_entry_bytes, slice);
	int rc = 0;

	if (at > t->end || t->from == t->end) {
		rc = copied_flags_write_changed(t, err);
		t->from = at;
	}
	t->end = at + slice;
	l2_put(&t->img->geo, t->bytes, i, e);
	return rc;
}

static int change_l1(struct image *img, uint64_t i, uint64_t entry,
		     struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	int rc = commit_begin(c, 0, err);

	if (rc < 0)
		return rc;
	commit_set_l1(c, i, entry);
	commit_order(c);
	commit_end(c);
	return 0;
}

/* ---- Clearing ------------------------------------------------------------ */

static bool has_flag(struct l2_entry e)
{
	return (e.desc & ENTRY_COPIED) && !(e.desc & L2_COMPRESSED);
}

static int clear_table(void *opaque, uint8_t *bytes, uint64_t index,
		       uint64_t host_off, struct qcow2_error *err)
{
	struct image *img = opaque;
	const struct geometry *g = &img->geo;
	struct copied_flags_table t = { .img = img,
					.bytes = bytes,
					.host_off = host_off };
	uint64_t n = geometry_l2_entries(g);
	int rc = 0;

	(void)index;
	if (!bytes)
		return 0;
	for (uint64_t i = l2_next_used(g, bytes, 0, n); rc == 0 && i < n;
	     i = l2_next_used(g, bytes, i + 1, n)) {
		struct l2_entry e = l2_get(g, bytes, i);

		if (!has_flag(e))
			continue;
		e.desc &= ~ENTRY_COPIED;
		rc = copied_flags_change_entry(&t, i, e, err);
	}
	return rc < 0 ? rc : copied_flags_write_changed(&t, err);
}

int copied_flags_clear_tables(struct image *img, struct tree *tree,
			      struct qcow2_error *err)
{
	int rc = commit_flush(&img->writer->commit, err);

	if (rc < 0)
		return rc;
	return tree_each_table(img, tree, clear_table, img, err);
}

int copied_flags_clear_l1(struct image *img, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < img->map.l1.n_entries; i++) {
		uint64_t entry = map_l1_entry(&img->map, i);

		if (entry & ENTRY_COPIED)
			rc = change_l1(img, i, entry & ~ENTRY_COPIED, err);
	}
	return rc;
}

/* ---- Setting ------------------------------------------------------------- */

struct restore {
	struct image *img;
	struct tree tree; /* the active disk's, as far as it is sound */
	uint64_t n_lost;
};

/* The refcount of a cluster in use; 0 is made 1 again before anybody can claim
 * the cluster. */
static int copied_flags_count_of(struct restore *r, uint64_t host_off,
				 uint64_t *value, struct qcow2_error *err)
{
	struct refcounts *refs = &r->img->writer->refs;
	uint64_t idx = host_off >> r->img->geo.cluster_bits;
	int rc = refcounts_get(refs, idx, value, err);

	if (rc < 0 || *value)
		return rc;
	r->n_lost++;
	return refcounts_increment(refs, 1, idx, err);
}

static int check_compressed(struct restore *r, struct l2_entry e,
			    struct qcow2_error *err)
{
	struct image *img = r->img;
	struct compressed c = compressed_decode(&img->geo, e.desc);
	uint64_t end = min_u64(c.host_off + c.len, image_file_end(img));
	uint64_t at = align_down(c.host_off, img->geo.cluster_size);
	uint64_t value;
	int rc = 0;

	for (; rc == 0 && at < end; at += img->geo.cluster_size)
		rc = copied_flags_count_of(r, at, &value, err);
	return rc;
}

static int restore_entry(struct restore *r, struct copied_flags_table *t,
			 uint64_t i, struct qcow2_error *err)
{
	struct l2_entry e = l2_get(&r->img->geo, t->bytes, i);
	uint64_t desc = e.desc & ~ENTRY_COPIED;
	uint64_t value;
	int rc;

	/* Clusters of a data file have no refcounts, and always the flag. */
	if (r->img->geo.has_data_file)
		return 0;
	if (e.desc & L2_COMPRESSED)
		return check_compressed(r, e, err);
	/* Entries that point nowhere are not for us to judge. */
	if (!l2_host_off(e) || l2_host_off(e) >= image_file_end(r->img))
		return 0;
	rc = copied_flags_count_of(r, l2_host_off(e), &value, err);
	/* Also in a table whose own refcount is higher: a crash may have left
	 * it so, and one that others have too counts for each of its
	 * clusters. */
	if (rc == 0 && value == 1)
		desc |= ENTRY_COPIED;
	if (rc < 0 || desc == e.desc)
		return rc;
	e.desc = desc;
	return copied_flags_change_entry(t, i, e, err);
}

static int restore_entries(struct restore *r, struct copied_flags_table *t,
			   struct qcow2_error *err)
{
	const struct geometry *g = &r->img->geo;
	uint64_t n = geometry_l2_entries(g);
	int rc = 0;

	for (uint64_t i = l2_next_used(g, t->bytes, 0, n); rc == 0 && i < n;
	     i = l2_next_used(g, t->bytes, i + 1, n))
		rc = restore_entry(r, t, i, err);
	return rc < 0 ? rc : copied_flags_write_changed(t, err);
}

static int restore_table(void *opaque, uint8_t *bytes, uint64_t index,
			 uint64_t host_off, struct qcow2_error *err)
{
	struct restore *r = opaque;
	struct copied_flags_table t = { .img = r->img,
					.bytes = bytes,
					.host_off = host_off };
	uint64_t entry = r->tree.l1[index];
	uint64_t want = entry & ~ENTRY_COPIED;
	uint64_t value;
	int rc = copied_flags_count_of(r, host_off, &value, err);

	if (rc == 0 && value == 1)
		want |= ENTRY_COPIED;
	if (rc == 0 && bytes)
		rc = restore_entries(r, &t, err);
	if (rc < 0 || want == entry)
		return rc;
	return change_l1(r->img, index, want, err);
}

/* Tables that cannot be where the entry says are left alone. */
static int sound_tree(struct image *img, struct tree *tree,
		      struct qcow2_error *err)
{
	int rc = tree_of_image(tree, img, err);

	for (uint64_t i = 0; rc == 0 && i < tree->n_l1; i++)
		if (l1_entry_defect(&img->geo, tree->l1[i] & ~ENTRY_COPIED,
				    image_file_end(img)))
			tree->l1[i] = 0;
	return rc;
}

static int restore_all(struct image *img, uint64_t *n_lost,
		       struct qcow2_error *err)
{
	struct restore r = { .img = img };
	int rc = commit_flush(&img->writer->commit, err);

	if (rc == 0)
		rc = sound_tree(img, &r.tree, err);
	if (rc == 0)
		rc = tree_each_table(img, &r.tree, restore_table, &r, err);
	tree_release(&r.tree);
	*n_lost += r.n_lost;
	return rc;
}

/* A failure is worth another try: that changes no flag that is right already,
 * and without it flags wait for a repair. */
int copied_flags_restore(struct image *img, uint64_t *n_lost,
			 struct qcow2_error *err)
{
	int rc;

	*n_lost = 0;
	rc = restore_all(img, n_lost, err);
	if (rc < 0 && commit_check(&img->writer->commit, NULL) == 0)
		rc = restore_all(img, n_lost, err);
	return rc;
}
