/*
 * Opening for writing and closing after it.
 */
#include "write/writer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/shrink.h"
#include "image/image.h"
#include "store/store.h"
#include "write/features.h"
#include "write/header_sector.h"
#include "write/l1_grow.h"
#include "write/overlap.h"
#include "write/unfinished.h"

/* The parts know each other. */
static void parts_validate(const struct writer *w)
{
	const struct commit *c = &w->commit;

	assert(c->refs == &w->refs && c->grace == &w->grace);
	assert(c->geo == w->refs.geo);
	assert(w->alloc.refs == &w->refs && w->alloc.commit == c);
	assert(w->pack.alloc == &w->alloc);
	assert(w->guard.cluster_bits == c->geo->cluster_bits);
}

void writer_validate(const struct writer *w)
{
	parts_validate(w);
	alloc_validate(&w->alloc);
	pack_validate(&w->pack);
	guard_validate(&w->guard);
	proof_validate(&w->proof);
	for (unsigned i = 0; i < INFLIGHT_SHARDS; i++)
		inflight_shard_validate(&w->inflight.shards[i]);
	/* "None is too low", so all of them are believed. */
	assert(implies(w->proof.state == PROOF_MADE,
		       !atomic_load(&w->refs.inherited.doubted)));
	assert(implies(w->below.reads_zero, w->below.read));
}

void writer_idle_validate(const struct image *img)
{
	image_validate(img);
	writer_validate(img->writer);
	features_validate(img);
	l1_grow_validate(img);
	assert(img->sizes.file_end ==
	       refcounts_high_water_mark(&img->writer->refs));
	/* "No guest data has changed": the bit is there to say so. */
	assert(implies(img->writer->bitmaps_valid,
		       img->header.autoclear_features & AUTOCLEAR_BITMAPS));
}

void writer_get_info(const struct image *img, struct qcow2_info *out)
{
	if (img->writer)
		out->refcounts_raised = img->writer->proof.n_raised;
}

void writer_get_stats(const struct image *img, struct qcow2_stats *out)
{
	struct writer *writer = img->writer;
	struct refcount_totals totals;

	if (!writer)
		return;
	totals = refcounts_totals(&writer->refs);
	out->allocated_clusters = totals.allocated;
	out->freed_clusters = totals.freed;
	out->copied_bytes = atomic_load_explicit(&writer->copied_bytes,
						 memory_order_relaxed);
	out->overlap_checks = guard_count_asked(&writer->guard);
	out->allocated_end = refcounts_allocated_end(&writer->refs);
	cache_get_stats(&writer->refs.blocks, &out->refcount_cache);
	commit_get_stats(&writer->commit, out);
}

struct grace_ref writer_grace_begin(struct image *img)
{
	return img->writer ? grace_enter(&img->writer->grace)
			   : (struct grace_ref){ NULL };
}

void writer_grace_end(struct grace_ref ref)
{
	if (ref.slot)
		grace_leave(ref);
}

/* ---- What refcounts tell ------------------------------------------------- */

#define REFCOUNT_SECTIONS \
	(QCOW2_OVERLAP_REFCOUNT_TABLE | QCOW2_OVERLAP_REFCOUNT_BLOCK)

static void set_table(struct header *h, void *opaque)
{
	const struct reftable_place *to = opaque;

	h->refcount_table_off = to->off;
	h->refcount_table_clusters = to->clusters;
}

/* O12: the header points to the new refcount table, durably. */
static int writer_move_table(void *opaque, struct reftable_place to,
			     struct qcow2_error *err)
{
	return header_sector_update(opaque, set_table, &to, err);
}

static int settle_header(void *opaque, struct qcow2_error *err)
{
	return header_sector_settle(opaque, err);
}

static int new_metadata(void *opaque, uint64_t len, uint64_t host_off,
			struct qcow2_error *err)
{
	struct image *img = opaque;

	return guard_add(&img->writer->guard, REFCOUNT_SECTIONS, len, host_off,
			 err);
}

static void old_metadata(void *opaque, uint64_t len, uint64_t host_off)
{
	struct image *img = opaque;

	guard_remove(&img->writer->guard, REFCOUNT_SECTIONS, len, host_off);
}

/* O26: entries are about to reach the disk before refcounts. */
static int mark_dirty(void *opaque, struct qcow2_error *err)
{
	return features_begin_dirty(opaque, DIRTY_LAZY, err);
}

/* ---- Open ---------------------------------------------------------------- */

static int check_writable(const struct image *img, struct qcow2_error *err)
{
	const struct header *h = &img->header;

	if (h->incompatible_features & INCOMPAT_CORRUPT)
		return error_defect(err, -EROFS, DEFECT_HEADER_CORRUPT_BIT,
				    HEADER_OFF_INCOMPAT,
				    "the image is marked corrupt: it can be "
				    "read, and written again once repaired");
	if (h->incompatible_features & INCOMPAT_DIRTY)
		return error_defect(err, -EROFS, DEFECT_HEADER_DIRTY_BIT,
				    HEADER_OFF_INCOMPAT,
				    "the image was not closed properly and its "
				    "refcounts may be stale: it can be read, "
				    "and written once repaired");
	if (img->snapshots.why.code)
		return error_defect(err, -EROFS, img->snapshots.why.defect,
				    HEADER_OFF_SNAPSHOTS_OFF,
				    "the snapshot table cannot be read, and "
				    "what the snapshots have must not be "
				    "overwritten: the disk can be read, and "
				    "written once repaired");
	if (h->refcount_table_clusters == 0)
		return error_defect(err, -EROFS,
				    DEFECT_HEADER_REFCOUNT_TABLE_EMPTY,
				    HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
				    "the image has no refcount table: it can "
				    "be read, and written once repaired");
	return 0;
}

static void init_policy(struct discard_policy *p,
			const struct qcow2_open_opts *opts)
{
	p->request = opts->discard & QCOW2_DISCARD_REQUEST;
	p->snapshot = opts->discard & QCOW2_DISCARD_SNAPSHOT;
	p->other = opts->discard & QCOW2_DISCARD_OTHER;
	p->no_unref = opts->discard & QCOW2_DISCARD_NO_UNREF;
}

static bool is_lazy(const struct image *img, const struct qcow2_open_opts *opts)
{
	if (img->header.version < 3 || opts->lazy_refcounts == QCOW2_LAZY_OFF)
		return false;
	return opts->lazy_refcounts == QCOW2_LAZY_ON ||
	       (img->header.compatible_features & COMPAT_LAZY_REFCOUNTS);
}

/* Data compressed before this opening ends where the file ended then. */
static uint64_t pack_apart(const struct image *img)
{
	return align_up(img->sizes.file, img->geo.cluster_size);
}

static void writer_init(struct image *img, const struct qcow2_open_opts *opts,
			struct writer *writer)
{
	struct commit *c = &writer->commit;

	grace_init(&writer->grace);
	inflight_init(&writer->inflight);
	pthread_mutex_init(&writer->snapshot_lock, NULL);
	pthread_mutex_init(&writer->table_lock, NULL);
	refcounts_set_owner(&writer->refs,
			    (struct refcounts_owner){
				    .move_table = writer_move_table,
				    .new_metadata = new_metadata,
				    .old_metadata = old_metadata,
				    .opaque = img,
			    });
	c->geo = &img->geo;
	c->file = img->file;
	c->data = img->data;
	c->refs = &writer->refs;
	c->grace = &writer->grace;
	c->l1 = &img->map.l1;
	c->settle_header = settle_header;
	c->mark_dirty = is_lazy(img, opts) ? mark_dirty : NULL;
	c->opaque = img;
	init_policy(&writer->policy, opts);
	alloc_init(&writer->alloc, &writer->refs, c);
	pack_init(&writer->pack, &writer->alloc, pack_apart(img));
	encoder_pool_init(&writer->encoders,
			  img->header.compression_type == COMPRESSION_ZSTD
				  ? CODEC_ZSTD
				  : CODEC_ZLIB,
			  0);
}

static void writer_free(struct writer *writer)
{
	encoder_pool_release(&writer->encoders);
	commit_release(&writer->commit);
	refcounts_release(&writer->refs);
	guard_release(&writer->guard);
	inflight_release(&writer->inflight);
	grace_release(&writer->grace);
	pthread_mutex_destroy(&writer->snapshot_lock);
	pthread_mutex_destroy(&writer->table_lock);
	free(writer);
}

int writer_open(struct image *img, const struct qcow2_open_opts *opts,
		struct qcow2_error *err)
{
	uint64_t cache = opts->refcount_cache_bytes
				 ? opts->refcount_cache_bytes
				 : REFCOUNT_CACHE_BYTES_DEFAULT;
	uint64_t room = metadata_budget_refcounts(&img->budget);
	struct writer *writer;
	int rc = check_writable(img, err);

	if (rc < 0)
		return rc;
	writer = calloc(1, sizeof(*writer));
	if (!writer)
		return error_nomem(err, "the writer", sizeof(*writer));
	rc = refcounts_open(&writer->refs, &img->geo, &img->header, img->file,
			    min_u64(cache, room), err);
	if (rc < 0) {
		free(writer);
		return rc;
	}
	refcounts_set_clean(&writer->refs, opts->cache_clean_sec);
	writer_init(img, opts, writer);
	rc = commit_init(&writer->commit, &img->map.l2, err);
	if (rc < 0) {
		writer_free(writer);
		return rc;
	}
	img->writer = writer;
	img->sizes.file_end = refcounts_high_water_mark(&writer->refs);
	proof_init(img, opts);
	rc = overlap_open(img, opts->overlap_check, err);
	if (rc == 0)
		rc = features_open(img, err);
	if (rc == 0)
		VALIDATE(writer_idle, img);
	return rc;
}

/* ---- Close --------------------------------------------------------------- */

/* On a full host this makes the space for the tables that show earlier writes.
 * No pointer leads to free clusters, so the cut need not wait.  Nothing is lost
 * if it fails: the last cut reports the error. */
static void writer_make_room(struct image *img)
{
	struct writer *writer = img->writer;

	if (!writer->keep_tail && commit_check(&writer->commit, NULL) == 0 &&
	    header_sector_is_settled(img))
		refcounts_cut_tail(&writer->refs, NULL);
}

int writer_close(struct image *img, struct qcow2_error *err)
{
	struct writer *writer = img->writer;
	int rc;

	if (!writer || !store_is_here(img->file))
		return 0;
	pack_release(&writer->pack);
	alloc_release(&writer->alloc);
	writer_make_room(img);
	rc = commit_drain(&writer->commit, err);
	if (rc == 0)
		rc = unfinished_recover(img, err);
	if (rc == 0)
		rc = features_end_dirty(img, DIRTY_LAZY | DIRTY_UNWRITTEN, err);
	if (rc == 0 && !writer->keep_tail)
		rc = refcounts_cut_tail(&writer->refs, err);
	img->writer = NULL;
	img->sizes.file_end = NULL;
	writer_free(writer);
	return rc;
}

int image_flush(struct image *img, struct qcow2_error *err)
{
	return commit_flush_guest(&img->writer->commit, err);
}

/* The poison stays: nobody knows what the disk holds. */
static int cannot_recover(struct image *img, struct qcow2_error *err)
{
	bool corrupt;

	mutex_lock(&img->header_lock);
	corrupt = img->header.incompatible_features & INCOMPAT_CORRUPT;
	mutex_unlock(&img->header_lock);
	if (corrupt || refcounts_broken(&img->writer->refs))
		return error_reason(err, -EIO, QCOW2_REASON_REPAIR,
				    "the image is corrupt: it can be read, and "
				    "written again once repaired");
	return error_lost(err);
}

int image_recover(struct image *img, struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	int rc = commit_check(c, NULL);

	if (rc == 0)
		rc = commit_flush(c, err);
	return rc < 0 && c->poison ? cannot_recover(img, err) : rc;
}

int image_drain(struct image *img, struct qcow2_error *err)
{
	struct writer *writer = img->writer;

	VALIDATE(writer_idle, img);
	pack_release(&writer->pack);
	pack_init(&writer->pack, &writer->alloc, pack_apart(img));
	alloc_give_back(&writer->alloc);
	return commit_drain(&writer->commit, err);
}

int image_settle(struct image *img, struct qcow2_error *err)
{
	int rc = image_drain(img, err);

	if (rc == 0)
		rc = unfinished_recover(img, err);
	return rc < 0 ? rc
		      : features_end_dirty(img, DIRTY_LAZY | DIRTY_UNWRITTEN,
					   err);
}
