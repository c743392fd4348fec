/*
 * O17: refcounts of everything that the snapshot uses, a new L1 table -> one
 * sector of the header switches disk size and L1 table -> refcounts of what the
 * disk used before.  Every crash leaves one disk or the other, whole.  Clusters
 * that both have at the same place are left out: they keep as many references
 * as before.
 *
 * No COPIED flag can be on in the new disk: the snapshot still has all of it.
 *
 * On a host without room for a new L1 table the old one is changed where it is,
 * if everything that changes lies in one sector of it: then that sector is what
 * switches.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "image/image.h"
#include "snapshot/context.h"
#include "snapshot/ops.h"
#include "write/copied_flags.h"
#include "write/features.h"
#include "write/header_sector.h"
#include "write/l1_grow.h"
#include "write/writer.h"

/* Before the switch. */
void application_validate(const struct application *a)
{
	tree_validate(&a->tree);
	tree_validate(&a->old);
	/* "The part of each that the other does not have at the same
	 * place". */
	assert(a->lost.n_l1 == a->old.n_l1 && a->gained.n_l1 == a->tree.n_l1);
	assert(a->lost.allowed && a->counted);
	/* "The old table becomes the new one", or there is another. */
	assert(a->in_place == !a->l1_off);
	assert(a->in_place || a->memory.to.host_off == a->l1_off);
	assert(a->in_place || a->memory.to.n_entries == a->tree.n_l1);
}

/* QEMU refuses for the same reason: bitmaps say what has changed since some
 * time, and nobody knows what changes now. */
static int apply_check_bitmaps(const struct image *img, struct qcow2_error *err)
{
	if (!img->bitmaps.n || !atomic_load(&img->writer->bitmaps_valid))
		return 0;
	return error_set(err, -ENOTSUP,
			 "the image has %" PRIu32
			 " persistent bitmaps, which would no longer match "
			 "the disk: remove them first",
			 img->bitmaps.n);
}

/* Entries past the snapshot's are empty. */
static int pad(struct tree *t, uint64_t n, struct qcow2_error *err)
{
	uint64_t *l1;

	if (t->n_l1 >= n)
		return 0;
	l1 = alloc_resized(t->l1, n * sizeof(*l1));
	if (!l1)
		return error_nomem(err, "an L1 table", n * sizeof(*l1));
	for (uint64_t i = t->n_l1; i < n; i++)
		l1[i] = 0;
	t->l1 = l1;
	t->n_l1 = n;
	return 0;
}

/* The entries of @t but those that @other has too.  A table that the disk has
 * as its own, with COPIED, is never the same as a snapshot's. */
static int difference(struct tree *out, const struct tree *t,
		      const struct tree *other, struct qcow2_error *err)
{
	uint64_t *l1 = alloc_bytes(t->n_l1 ? t->n_l1 * sizeof(*l1) : 1);

	if (!l1)
		return error_nomem(err, "an L1 table", t->n_l1 * sizeof(*l1));
	for (uint64_t i = 0; i < t->n_l1; i++) {
		bool same = i < other->n_l1 && t->l1[i] == other->l1[i] &&
			    !(t->l1[i] & ENTRY_COPIED);

		l1[i] = same ? 0 : t->l1[i];
	}
	*out = (struct tree){ .l1 = l1, .n_l1 = t->n_l1 };
	return 0;
}

static int apply_find(struct application *a, const char *id_or_name,
		      const struct snapshot_info **out, struct qcow2_error *err)
{
	struct image *img = a->img;
	uint32_t index;
	int rc = snapshot_index(img, id_or_name, &index, err);

	if (rc < 0)
		return rc;
	*out = &img->snapshots.list[index];
	a->disk_size = (*out)->disk_size;
	rc = snapshot_check_view(&img->geo, *out, image_file_end(img), err);
	return rc < 0 ? rc : apply_check_bitmaps(img, err);
}

/* After the proof, which may change flags in the tables that are read here. */
static int apply_look(struct application *a, const struct snapshot_info *s,
		      struct qcow2_error *err)
{
	struct image *img = a->img;
	int rc = tree_read(&a->tree, img, s->l1_size, s->l1_off, err);

	if (rc == 0)
		rc = pad(&a->tree, 1, err);
	if (rc == 0)
		rc = tree_of_image(&a->old, img, err);
	if (rc == 0)
		rc = difference(&a->gained, &a->tree, &a->old, err);
	if (rc == 0)
		rc = difference(&a->lost, &a->old, &a->tree, err);
	/* That is walked after the header has changed: too late to refuse. */
	return rc < 0 ? rc : tree_allow_walk(img, &a->lost, err);
}

/* ---- Before the switch --------------------------------------------------- */

/* A sound snapshot has no COPIED flags; one that has would let the disk write
 * into it. */
static int apply_clear_copied(struct application *a, struct qcow2_error *err)
{
	for (uint64_t i = 0; i < a->tree.n_l1; i++)
		a->tree.l1[i] &= ~ENTRY_COPIED;
	if (!a->gained.has_copied)
		return 0;
	return copied_flags_clear_tables(a->img, &a->gained, err);
}

static int guard_tables(struct application *a, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < a->tree.n_l1; i++)
		if (l1_table_off(a->tree.l1[i]))
			rc = guard_add(&a->img->writer->guard,
				       QCOW2_OVERLAP_ACTIVE_L2, 1,
				       l1_table_off(a->tree.l1[i]), err);
	return rc;
}

/* Tables of @t that @other does not have at the same place. */
static void unguard_tables(struct application *a, const struct tree *t,
			   const struct tree *other)
{
	for (uint64_t i = 0; i < t->n_l1; i++) {
		uint64_t off = l1_table_off(t->l1[i]);
		uint64_t also = i < other->n_l1 ? l1_table_off(other->l1[i])
						: 0;

		if (off && off != also)
			guard_remove(&a->img->writer->guard,
				     QCOW2_OVERLAP_ACTIVE_L2, 1, off);
	}
}

/* ---- Without room -------------------------------------------------------- */

static uint64_t apply_entry_of(const struct tree *t, uint64_t i)
{
	return i < t->n_l1 ? t->l1[i] : 0;
}

/* The header stays as it is, and one sector of the table changes. */
static bool fits_in_place(const struct application *a)
{
	enum { PER_SECTOR = SECTOR_BYTES / L1_ENTRY_BYTES };
	const struct image *img = a->img;
	uint64_t n = img->map.l1.n_entries;
	uint64_t sector = UINT64_MAX;

	if (a->disk_size != img->header.size || a->tree.n_l1 > n ||
	    img->header.l1_size != n)
		return false;
	for (uint64_t i = 0; i < n; i++) {
		if (apply_entry_of(&a->tree, i) == apply_entry_of(&a->old, i))
			continue;
		if (sector != UINT64_MAX && sector != i / PER_SECTOR)
			return false;
		sector = i / PER_SECTOR;
	}
	return true;
}

static int find_place(struct application *a, struct qcow2_error *err)
{
	struct qcow2_error why = { 0 };
	int rc = fresh_l1_write(a->img, a->tree.l1, a->tree.n_l1, &a->l1_off,
				&why);

	a->in_place = error_is_no_room(rc) && fits_in_place(a);
	if (rc == 0 || a->in_place)
		return 0;
	if (err)
		*err = why;
	return rc;
}

/* In one commit. */
static int set_entries(struct application *a, const struct tree *to,
		       struct qcow2_error *err)
{
	struct map *map = &a->img->map;
	struct commit *c = &a->img->writer->commit;
	int rc = commit_begin(c, 0, err);

	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < map->l1.n_entries; i++)
		if (apply_entry_of(to, i) != map_l1_entry(map, i))
			commit_set_l1(c, i, apply_entry_of(to, i));
	commit_order(c);
	commit_end(c);
	map_forget_walk(map);
	return 0;
}

static int apply_prepare(struct application *a, struct qcow2_error *err)
{
	struct image *img = a->img;
	int rc = tree_add_references(img, &a->gained, err);

	a->counted = rc == 0;
	if (rc == 0)
		rc = apply_clear_copied(a, err);
	if (rc == 0)
		rc = guard_tables(a, err);
	if (rc == 0)
		rc = find_place(a, err);
	if (rc == 0)
		rc = commit_flush(&img->writer->commit, err);
	if (rc < 0 || a->in_place)
		return rc;
	/* Want of memory must not come after the header. */
	if (rc == 0)
		rc = l1_switch_init(&a->memory, a->tree.n_l1, a->l1_off, err);
	for (uint64_t i = 0; rc == 0 && i < a->tree.n_l1; i++)
		a->memory.to.entries[i] = a->tree.l1[i];
	return rc;
}

/* A header that may show the snapshot's disk keeps all that it has. */
static void apply_undo(struct application *a)
{
	unguard_tables(a, &a->tree, &a->old);
	l1_table_drop(a->img, a->tree.n_l1, a->l1_off);
	if (a->counted && header_sector_settle(a->img, NULL) == 0)
		tree_drop_references(a->img, &a->gained, NULL);
}

/* ---- The switch ---------------------------------------------------------- */

static void set_disk(struct header *h, void *opaque)
{
	const struct application *a = opaque;

	h->size = a->disk_size;
	h->l1_off = a->l1_off;
	h->l1_size = (uint32_t)a->tree.n_l1;
}

/* If the sector cannot be written, the old one must be restored before anything
 * that the new one needs is given up. */
static int switch_in_place(struct application *a, struct qcow2_error *err)
{
	struct commit *c = &a->img->writer->commit;
	int rc = set_entries(a, &a->tree, err);

	if (rc == 0)
		rc = commit_flush(c, err);
	if (rc < 0) {
		set_entries(a, &a->old, NULL);
		if (commit_flush(c, NULL) < 0)
			a->counted = false;
		apply_undo(a);
	}
	return rc;
}

static int switch_disk(struct application *a, struct qcow2_error *err)
{
	struct image *img = a->img;
	int rc;

	VALIDATE(application, a);
	if (a->in_place)
		return switch_in_place(a, err);
	rc = header_sector_update(img, set_disk, a, err);
	if (rc < 0) {
		apply_undo(a);
		return rc;
	}
	l1_use(img, &a->memory);
	img->virtual_size = a->disk_size;
	return 0;
}

static int forget_old(struct application *a, uint64_t n_l1, uint64_t l1_off,
		      struct qcow2_error *err)
{
	unguard_tables(a, &a->old, &a->tree);
	if (!a->in_place)
		l1_table_drop(a->img, n_l1, l1_off);
	return tree_drop_references(a->img, &a->lost, err);
}

static int apply(struct application *a, const char *id_or_name,
		 struct qcow2_error *err)
{
	struct image *img = a->img;
	uint64_t old_off = img->header.l1_off;
	uint64_t old_n = l1_entries_in_file(img);
	const struct snapshot_info *s = NULL;
	int rc = apply_find(a, id_or_name, &s, err);

	if (rc == 0)
		rc = proof_require_frozen(img, err);
	if (rc == 0)
		rc = apply_look(a, s, err);
	if (rc == 0)
		rc = features_before_guest_change(img, err);
	if (rc < 0)
		return rc;
	rc = apply_prepare(a, err);
	if (rc < 0) {
		apply_undo(a);
		return rc;
	}
	rc = switch_disk(a, err);
	if (rc == 0)
		rc = forget_old(a, old_n, old_off, err);
	return rc < 0 ? rc : commit_flush(&img->writer->commit, err);
}

int image_snapshot_apply(struct image *img, const char *id_or_name,
			 struct qcow2_error *err)
{
	struct application a = { .img = img };
	struct inflight_freeze freeze;
	int rc = snapshot_begin(img, &freeze, err);

	if (rc == 0)
		rc = apply(&a, id_or_name, err);
	snapshot_end(img, &freeze);
	l1_switch_release(&a.memory);
	tree_release(&a.old);
	tree_release(&a.tree);
	tree_release(&a.lost);
	tree_release(&a.gained);
	return rc;
}
