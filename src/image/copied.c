#include "image/copied.h"

#include "base/checked.h"
#include "base/mutant.h"
#include "image/image.h"
#include "image/rw.h"

/* ---- Slices ------------------------------------------------------------------ */

/* Entries of an L2 table that lie in one slice of the cache, pinned. */
struct part {
	struct slice *slice;
	uint64_t n;
};

static int part_get(struct image *img, uint64_t table, uint64_t in_table,
		    struct part *p, struct qcow2_error *err)
{
	struct cache *c = &img->map.l2;

	p->n = c->slice_bytes / img->geo.l2_entry_bytes;
	return cache_get(c, table + in_table, table + img->geo.cluster_size, 0,
			 &p->slice, err);
}

static void part_put(struct image *img, struct part *p)
{
	cache_put(&img->map.l2, p->slice);
}

static struct l2_entry part_entry(const struct image *img,
				  const struct part *p, uint64_t i)
{
	return l2_get(&img->geo, p->slice->data, i);
}

/* Changes entry @i; entries follow the refcounts that they tell about. */
static int change_entry(struct image *img, struct part *p, uint64_t i,
			struct l2_entry e, struct qcow2_error *err)
{
	struct commit *c = &img->rw->commit;
	int rc = commit_begin(c, 0, err);

	if (rc < 0)
		return rc;
	commit_set_l2(c, p->slice, i, e);
	commit_order(c);
	commit_end(c);
	return 0;
}

static int change_l1(struct image *img, uint64_t i, uint64_t entry,
		     struct qcow2_error *err)
{
	struct commit *c = &img->rw->commit;
	int rc = commit_begin(c, 0, err);

	if (rc < 0)
		return rc;
	commit_set_l1(c, i, entry);
	commit_order(c);
	commit_end(c);
	return 0;
}

typedef int part_fn(struct image *img, struct part *p, void *opaque,
		    struct qcow2_error *err);

static int each_part(struct image *img, uint64_t table, part_fn *fn,
		     void *opaque, struct qcow2_error *err)
{
	uint64_t step = img->map.l2.slice_bytes;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < img->geo.cluster_size;
	     at += step) {
		struct part p;

		rc = part_get(img, table, at, &p, err);
		if (rc < 0)
			return rc;
		rc = fn(img, &p, opaque, err);
		part_put(img, &p);
		if (rc == 0 && commit_wanted(&img->rw->commit))
			rc = commit_flush(&img->rw->commit, err);
	}
	return rc;
}

/* ---- Clearing ---------------------------------------------------------------- */

static bool has_flag(struct l2_entry e)
{
	return (e.desc & ENTRY_COPIED) && !(e.desc & L2_COMPRESSED);
}

static int clear_part(struct image *img, struct part *p, void *opaque,
		      struct qcow2_error *err)
{
	int rc = 0;

	(void)opaque;
	for (uint64_t i = 0; rc == 0 && i < p->n; i++) {
		struct l2_entry e = part_entry(img, p, i);

		if (!has_flag(e))
			continue;
		e.desc &= ~ENTRY_COPIED;
		rc = change_entry(img, p, i, e, err);
	}
	return rc;
}

int copied_clear_tables(struct image *img, const uint64_t *l1, uint64_t n,
			struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++)
		if (l1_table_off(l1[i]) && !MUTANT(copied_kept))
			rc = each_part(img, l1_table_off(l1[i]), clear_part,
				       NULL, err);
	return rc;
}

int copied_clear_l1(struct image *img, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < img->map.l1.n_entries; i++) {
		uint64_t entry = map_l1_entry(&img->map, i);

		if ((entry & ENTRY_COPIED) && !MUTANT(copied_l1_kept))
			rc = change_l1(img, i, entry & ~ENTRY_COPIED, err);
	}
	return rc;
}

/* ---- Setting ----------------------------------------------------------------- */

struct restore {
	bool own_table;      /* nobody else refers to the L2 table */
	uint64_t n_lost;
};

/* The refcount of a cluster in use; 0 is made 1 again before anybody can claim
 * the cluster. */
static int count_of(struct image *img, uint64_t host_off, uint64_t *value,
		    struct restore *r, struct qcow2_error *err)
{
	struct refcounts *refs = &img->rw->refs;
	uint64_t idx = host_off >> img->geo.cluster_bits;
	int rc = refcounts_get(refs, idx, value, err);

	if (rc < 0 || *value)
		return rc;
	r->n_lost++;
	return refcounts_increment(refs, 1, idx, err);
}

static int check_compressed(struct image *img, struct l2_entry e,
			    struct restore *r, struct qcow2_error *err)
{
	struct compressed c = compressed_decode(&img->geo, e.desc);
	uint64_t end = min_u64(c.host_off + c.len, image_file_end(img));
	uint64_t at = align_down(c.host_off, img->geo.cluster_size);
	uint64_t value;
	int rc = 0;

	for (; rc == 0 && at < end; at += img->geo.cluster_size)
		rc = count_of(img, at, &value, r, err);
	return rc;
}

static int restore_entry(struct image *img, struct part *p, uint64_t i,
			 struct restore *r, struct qcow2_error *err)
{
	struct l2_entry e = part_entry(img, p, i);
	uint64_t desc = e.desc & ~ENTRY_COPIED;
	uint64_t value;
	int rc;

	if (e.desc & L2_COMPRESSED)
		return check_compressed(img, e, r, err);
	/* What points nowhere is not for us to judge. */
	if (!l2_host_off(e) || l2_host_off(e) >= image_file_end(img))
		return 0;
	rc = count_of(img, l2_host_off(e), &value, r, err);
	if (rc == 0 && value == 1 && r->own_table)
		desc |= ENTRY_COPIED;
	if (rc < 0 || desc == e.desc)
		return rc;
	e.desc = desc;
	return change_entry(img, p, i, e, err);
}

static int restore_part(struct image *img, struct part *p, void *opaque,
			struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < p->n; i++) {
		struct l2_entry e = part_entry(img, p, i);

		if (e.desc)
			rc = restore_entry(img, p, i, opaque, err);
	}
	return rc;
}

static int restore_table(struct image *img, uint64_t i, struct restore *r,
			 struct qcow2_error *err)
{
	uint64_t entry = map_l1_entry(&img->map, i);
	uint64_t want = entry & ~ENTRY_COPIED;
	uint64_t value;
	int rc;

	if (l1_entry_defect(&img->geo, want, image_file_end(img)) ||
	    !l1_table_off(entry))
		return 0;
	rc = count_of(img, l1_table_off(entry), &value, r, err);
	r->own_table = value == 1;
	if (r->own_table)
		want |= ENTRY_COPIED;
	if (rc == 0)
		rc = each_part(img, l1_table_off(entry), restore_part, r, err);
	if (rc < 0 || want == entry)
		return rc;
	return change_l1(img, i, want, err);
}

int copied_restore(struct image *img, uint64_t *n_lost,
		   struct qcow2_error *err)
{
	struct restore r = { 0 };
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < img->map.l1.n_entries; i++)
		rc = restore_table(img, i, &r, err);
	*n_lost = r.n_lost;
	return rc;
}
