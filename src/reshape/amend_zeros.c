/*
 * Zero clusters for version 2, which has none: without a backing file they
 * become unallocated, with one they get a host cluster full of zeros.
 *
 * Every table is changed once, also one that several snapshots share: it says
 * the same before and after, entry by entry, so that the tables may change in
 * any order and a crash may come at any time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "image/image.h"
#include "reshape/amend.h"
#include "store/store.h"
#include "write/overlap.h"
#include "write/tree.h"
#include "write/writer.h"

/* ---- All L2 tables ------------------------------------------------------- */

/* As often as L1 entries refer to them, sorted. */
struct table_list {
	uint64_t *offs;
	size_t n;
	size_t capacity;
};

static int list_add(struct table_list *l, uint64_t off, struct qcow2_error *err)
{
	size_t capacity = l->capacity ? 2 * l->capacity : 256;
	uint64_t *offs;

	if (l->n == l->capacity) {
		offs = realloc(l->offs, capacity * sizeof(*offs));
		if (!offs)
			return error_nomem(err, "the list of L2 tables",
					   capacity * sizeof(*offs));
		l->offs = offs;
		l->capacity = capacity;
	}
	l->offs[l->n++] = off;
	return 0;
}

static int add_tree(struct table_list *l, struct image *img, struct tree *t,
		    struct qcow2_error *err)
{
	int rc = tree_allow_walk(img, t, err);

	for (uint64_t i = 0; rc == 0 && i < t->n_l1; i++) {
		uint64_t off = l1_table_off(t->l1[i]);
		enum defect bad = l1_entry_defect(&img->geo, t->l1[i],
						  image_file_end(img));

		if (off && bad && bad != DEFECT_L1_ENTRY_RESERVED)
			return error_defect(err, -EIO, (int)bad, off, "%s",
					    defect_info((int)bad)->text);
		if (off)
			rc = list_add(l, off, err);
	}
	return rc;
}

static int compare_offs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int add_snapshot(struct table_list *l, struct image *img,
			const struct snapshot_info *s, struct qcow2_error *err)
{
	struct tree t = { 0 };
	int rc = snapshot_check_view(&img->geo, s, image_file_end(img), err);

	if (rc == 0)
		rc = tree_read(&t, img, s->l1_size, s->l1_off, err);
	if (rc == 0)
		rc = add_tree(l, img, &t, err);
	tree_release(&t);
	return rc;
}

static int amend_zeros_collect(struct table_list *l, struct image *img,
			       struct qcow2_error *err)
{
	struct tree t = { 0 };
	int rc = tree_of_image(&t, img, err);

	if (rc == 0)
		rc = add_tree(l, img, &t, err);
	tree_release(&t);
	for (uint32_t i = 0; rc == 0 && i < img->snapshots.n; i++)
		rc = add_snapshot(l, img, &img->snapshots.list[i], err);
	if (l->n)
		qsort(l->offs, l->n, sizeof(*l->offs), compare_offs);
	return rc;
}

/* ---- One entry ----------------------------------------------------------- */

struct expansion {
	struct image *img;
	/* To the table, which makes as many to each of its clusters.  Counted,
	 * because a crash may have left its refcount higher. */
	uint64_t n_refs;
	bool covers; /* there is a backing file to cover */
};

/* The host cluster of a zero cluster may hold data for a table of somebody
 * else's; it can have zeros only if all of its references are ours. */
static int amend_zeros_is_own(const struct expansion *x, uint64_t host_off,
			      bool *own, struct qcow2_error *err)
{
	uint64_t count = 0;
	int rc = host_off ? refcounts_get(&x->img->writer->refs,
					  host_off >> x->img->geo.cluster_bits,
					  &count, err)
			  : 0;

	*own = count == x->n_refs;
	return rc;
}

/* A new cluster with as many references as the table has. */
static int new_cluster(const struct expansion *x, struct claim *claim,
		       struct qcow2_error *err)
{
	struct image *img = x->img;
	struct allocation a;
	uint64_t first;
	int rc = alloc_clusters(&img->writer->alloc, 1, &a, err);

	if (rc < 0)
		return rc;
	*claim = a.claim;
	first = claim->host_off >> img->geo.cluster_bits;
	for (uint64_t i = 1; rc == 0 && i < x->n_refs; i++)
		rc = refcounts_increment(&img->writer->refs, 1, first, err);
	return rc < 0 ? rc
		      : overlap_check(img, img->geo.cluster_size,
				      claim->host_off, err);
}

static int zero_host(struct image *img, uint64_t host_off, bool reads_zero,
		     struct qcow2_error *err)
{
	if (reads_zero)
		return 0;
	return store_zero(img->file, img->geo.cluster_size, host_off, 0, err);
}

/* Makes the zero cluster @e unallocated, or written zeros; *gone: its host
 * cluster loses the references of this table. */
static int expand_entry(const struct expansion *x, struct l2_entry *e,
			bool *gone, struct qcow2_error *err)
{
	uint64_t host = l2_host_off(*e);
	struct claim claim;
	bool own;
	int rc = amend_zeros_is_own(x, host, &own, err);

	*gone = host != 0;
	if (rc < 0)
		return rc;
	if (!x->covers) {
		*e = (struct l2_entry){ 0, 0 };
		return 0;
	}
	if (own) {
		*gone = false;
		e->desc &= ~L2_ZERO;
		return zero_host(x->img, host, false, err);
	}
	rc = new_cluster(x, &claim, err);
	if (rc == 0)
		rc = zero_host(x->img, claim.host_off, claim.reads_zero, err);
	e->desc = claim.host_off | (x->n_refs == 1 ? ENTRY_COPIED : 0);
	return rc;
}

/* ---- One table ----------------------------------------------------------- */

static int amend_zeros_change_entry(const struct expansion *x, struct slice *s,
				    uint64_t i, struct qcow2_error *err)
{
	struct commit *c = &x->img->writer->commit;
	struct l2_entry e = l2_get(&x->img->geo, s->data, i);
	uint64_t host = l2_host_off(e);
	bool gone;
	int rc;

	if ((e.desc & L2_COMPRESSED) || !(e.desc & L2_ZERO))
		return 0;
	rc = expand_entry(x, &e, &gone, err);
	if (rc == 0)
		rc = commit_begin(c, gone ? x->n_refs : 0, err);
	if (rc < 0)
		return rc;
	commit_set_l2(c, s, i, e);
	for (uint64_t k = 0; gone && k < x->n_refs; k++)
		commit_free(c, (struct freed){ host, 1, false });
	commit_order(c);
	commit_end(c);
	return 0;
}

static int expand_table(struct image *img, uint64_t off, uint64_t n_refs,
			struct qcow2_error *err)
{
	struct expansion x = { .img = img,
			       .n_refs = n_refs,
			       .covers = img->names.backing_file != NULL };
	struct cache *l2 = &img->map.l2;
	uint64_t n = l2->slice_bytes / img->geo.l2_entry_bytes;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < img->geo.cluster_size;
	     at += l2->slice_bytes) {
		struct slice *s;

		rc = cache_get(l2, off + at, off + img->geo.cluster_size, 0, &s,
			       err);
		if (rc < 0)
			return rc;
		for (uint64_t i = 0; rc == 0 && i < n; i++)
			rc = amend_zeros_change_entry(&x, s, i, err);
		cache_put(l2, s);
	}
	return rc;
}

/* How many entries of the list from @i on are the same. */
static uint64_t amend_zeros_count_same(const struct table_list *l, size_t i)
{
	uint64_t n = 1;

	while (i + n < l->n && l->offs[i + n] == l->offs[i])
		n++;
	return n;
}

int amend_expand_zeros(struct image *img, struct amend_progress *p,
		       struct qcow2_error *err)
{
	struct table_list l = { 0 };
	int rc = amend_zeros_collect(&l, img, err);

	p->total = l.n + 1;
	p->done = 0;
	for (size_t i = 0; rc == 0 && i < l.n;) {
		uint64_t n = amend_zeros_count_same(&l, i);

		rc = expand_table(img, l.offs[i], n, err);
		i += to_size(n);
		if (rc == 0 && commit_wanted(&img->writer->commit))
			rc = commit_flush(&img->writer->commit, err);
		if (rc == 0)
			rc = amend_progress_add(p, n, err);
	}
	free(l.offs);
	return rc;
}
