/*
 * O18: a new snapshot table -> the header has one snapshot less -> refcounts of
 * everything that the snapshot used -> COPIED where one reference is left.
 * After a crash there are leaks, and COPIED flags that are off although they
 * could be on; version 3 has the dirty bit for those.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/used.h"
#include "image/image.h"
#include "snapshot/context.h"
#include "snapshot/ops.h"
#include "store/store.h"
#include "write/copied_flags.h"
#include "write/features.h"
#include "write/unfinished.h"
#include "write/writer.h"

/* Before the switch: "the list without it". */
void deletion_validate(const struct deletion *d)
{
	tree_validate(&d->tree);
	snapshots_validate(&d->next);
	assert(d->next.n + 1 == d->img->snapshots.n);
	assert(d->tree.n_l1 == d->info.l1_size && d->tree.allowed);
	assert(!d->switched);
	for (uint32_t i = 0; i < d->next.n; i++)
		assert(d->next.list[i].id != d->info.id);
}

static int list_without(struct deletion *d, uint32_t index,
			struct qcow2_error *err)
{
	const struct snapshots *old = &d->img->snapshots;
	size_t after = old->n - index - 1;

	d->next.list = calloc(old->n, sizeof(*old->list));
	if (!d->next.list)
		return error_nomem(err, "the snapshot list",
				   old->n * sizeof(*old->list));
	memcpy(d->next.list, old->list, index * sizeof(*old->list));
	memcpy(d->next.list + index, old->list + index + 1,
	       after * sizeof(*old->list));
	d->next.n = old->n - 1;
	return 0;
}

/* COPIED flags are set again after the header has changed: too late to find
 * that the disk's tables are too many. */
static int allow_restore(struct image *img, struct qcow2_error *err)
{
	struct tree active;
	int rc = tree_of_image(&active, img, err);

	if (rc == 0)
		rc = tree_allow_walk(img, &active, err);
	tree_release(&active);
	return rc;
}

static int delete_find(struct deletion *d, const char *id_or_name,
		       uint32_t *index, struct qcow2_error *err)
{
	int rc = snapshot_index(d->img, id_or_name, index, err);

	if (rc < 0)
		return rc;
	d->info = d->img->snapshots.list[*index];
	return snapshot_check_l1(d->img, &d->info, err);
}

/* After the proof, which may change flags in the tables that are read here. */
static int delete_look(struct deletion *d, uint32_t index,
		       struct qcow2_error *err)
{
	int rc = tree_read(&d->tree, d->img, d->info.l1_size, d->info.l1_off,
			   err);

	d->tree.keep = true;
	if (rc == 0)
		rc = tree_walk(d->img, &d->tree, NULL, NULL, err);
	if (rc == 0)
		rc = allow_restore(d->img, err);
	return rc < 0 ? rc : list_without(d, index, err);
}

/* ---- Space --------------------------------------------------------------- */

static void punch_clusters(struct image *img, uint64_t n, uint64_t first)
{
	uint32_t bits = img->geo.cluster_bits;

	if (n)
		store_zero(img->file, n << bits, first << bits,
			   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK, NULL);
}

/* Gives back the space of the clusters of one run that are free now. */
static int delete_punch_run(struct image *img, const struct tree_run *run,
			    struct qcow2_error *err)
{
	uint64_t end = run->first + run->n;
	uint64_t from = run->first;
	struct refcount_walk w;
	int rc;

	refcount_walk_init(&w, &img->writer->refs, from, end);
	while ((rc = refcount_walk_next(&w, err)) > 0) {
		if (w.count == 0)
			continue;
		punch_clusters(img, w.cluster_idx - from, from);
		from = w.cluster_idx + 1;
	}
	if (rc == 0)
		punch_clusters(img, end - from, from);
	return rc;
}

static int punch_runs(void *opaque, const struct tree_run *runs, size_t n,
		      struct qcow2_error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = delete_punch_run(opaque, &runs[i], err);
	return rc;
}

/* The removal is durable, writers wait, and what the disk needs has its
 * refcount: so nobody misses these bytes.  A failure costs space and nothing
 * else. */
static void delete_punch(struct deletion *d)
{
	if (d->img->writer->policy.snapshot)
		tree_walk(d->img, &d->tree, punch_runs, d->img, NULL);
}

/* ---- All of it ----------------------------------------------------------- */

static int lost_clusters(struct image *img, uint64_t n, struct qcow2_error *err)
{
	error_defect(err, -EIO, DEFECT_REFCOUNT_TOO_LOW, UINT64_MAX,
		     "the refcounts of %" PRIu64
		     " clusters did not count the active disk: they have been "
		     "corrected, and the image is marked corrupt",
		     n);
	commit_flush(&img->writer->commit, NULL);
	return features_mark_corrupt(img, -EIO);
}

static int delete_forget(struct deletion *d, struct qcow2_error *err)
{
	struct image *img = d->img;
	uint64_t n_lost = 0;
	int rc = tree_drop_references(img, &d->tree, err);
	int restored = 0;
	bool low = refcounts_fell_low(&img->writer->refs);

	l1_table_drop(img, d->info.l1_size, d->info.l1_off);
	/* With other snapshots around, often all clusters still have several
	 * owners. */
	if (low)
		restored = copied_flags_restore(img, &n_lost,
						rc == 0 ? err : NULL);
	if (rc == 0)
		rc = restored;
	if (n_lost)
		return lost_clusters(img, n_lost, err);
	if (rc == 0 && low)
		delete_punch(d);
	return rc;
}

static int delete_carry_out(struct deletion *d, struct qcow2_error *err)
{
	struct image *img = d->img;
	struct fresh_table table;
	int rc = snapshot_table_write(img, &d->next, &table, err);

	if (rc < 0) {
		d->info.id = NULL;
		return rc;
	}
	VALIDATE(deletion, d);
	refcounts_watch(&img->writer->refs);
	rc = snapshot_table_switch(img, &d->next, &table, err);
	if (rc < 0) {
		d->info.id = NULL;
		return rc;
	}
	d->switched = true;
	return delete_forget(d, err);
}

static int delete (struct deletion *d, const char *id_or_name,
		   struct qcow2_error *err)
{
	struct image *img = d->img;
	uint32_t index = 0;
	int rc = delete_find(d, id_or_name, &index, err);

	if (rc == 0)
		rc = proof_require_frozen(img, err);
	if (rc == 0)
		rc = delete_look(d, index, err);
	if (rc == 0)
		rc = features_begin_dirty(img, DIRTY_OPERATION, err);
	if (rc < 0) {
		d->info.id = NULL;
		return rc;
	}
	rc = delete_carry_out(d, err);
	if (rc < 0 && d->switched) {
		unfinished_leave(img, rc);
		return rc;
	}
	return unfinished_end(img, rc, err);
}

int image_snapshot_delete(struct image *img, const char *id_or_name,
			  struct qcow2_error *err)
{
	struct deletion d = { .img = img };
	struct inflight_freeze freeze;
	int rc = snapshot_begin(img, &freeze, err);

	if (rc == 0)
		rc = delete (&d, id_or_name, err);
	snapshot_end(img, &freeze);
	/* Of a list that is the image's no more. */
	snapshot_info_release(&d.info);
	free(d.next.list);
	tree_release(&d.tree);
	return rc;
}
