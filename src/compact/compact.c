#include "compact/compact.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "compact/packed.h"
#include "compress/encode.h"
#include "counts/inherited.h"
#include "counts/shrink.h"
#include "counts/used.h"
#include "image/image.h"
#include "store/store.h"
#include "write/overlap.h"
#include "write/writer.h"

/* 8 TiB of clusters of 512 bytes: 6 GiB of sets. */
#define CLUSTERS_MAX (UINT64_C(1) << 34)

enum { WORDS_VALIDATED_MAX = 4096 };

/* "Packed: in no other set". */
static void sets_validate(const struct compact *c)
{
	uint64_t n = min_u64(c->n_file / 64 + 1, WORDS_VALIDATED_MAX);

	assert(c->data.n_bits == c->n_file);
	assert(c->tables.n_bits == c->n_file);
	assert(c->packed.n_bits == c->n_file);
	for (uint64_t i = 0; i < n; i++)
		assert(!(c->packed.words[i] &
			 (c->data.words[i] | c->tables.words[i])));
}

void compact_validate(const struct compact *c)
{
	assert(c->img && c->refs && c->opts && c->result);
	assert(c->n_file <= CLUSTERS_MAX);
	assert(c->end <= c->n_file && c->goal <= c->n_file);
	/* The header stays. */
	assert(c->hole >= 1);
	sets_validate(c);
	moves_validate(&c->moves);
}

/* ---- What there is ------------------------------------------------------- */

/* Clusters in use, and the end of the last one. */
static int compact_count_used(const struct compact *c, uint64_t *used,
			      uint64_t *end, struct qcow2_error *err)
{
	struct refcount_walk w;
	int rc;

	*used = *end = 0;
	refcount_walk_init(&w, c->refs, 0, c->n_file);
	while ((rc = refcount_walk_next(&w, err)) > 0) {
		if (w.count == 0)
			continue;
		++*used;
		*end = w.cluster_idx + 1;
	}
	return rc;
}

/* The goal is where the file ends without holes. */
static int set_goal(struct compact *c, uint64_t *end, struct qcow2_error *err)
{
	c->hole = 1;
	return compact_count_used(c, &c->goal, end, err);
}

/* Clusters behind the last refcount block are free and need no place in the
 * sets, however long the file is. */
static int bound_file(struct compact *c, struct qcow2_error *err)
{
	c->n_file = compact_n_described(c);
	if (c->n_file <= CLUSTERS_MAX)
		return 0;
	return error_set(err, -EFBIG,
			 "refcounts describe %" PRIu64 " clusters of the file, "
			 "and %" PRIu64 " can be compacted: convert the image "
			 "instead",
			 c->n_file, CLUSTERS_MAX);
}

static int open_compact(struct compact *c, struct qcow2_error *err)
{
	int rc = bound_file(c, err);

	if (rc < 0)
		return rc;
	rc = set_goal(c, &c->end, err);
	c->result->clusters_total = c->goal;
	if (rc == 0 && (!bitset_init(&c->data, c->n_file) ||
			!bitset_init(&c->tables, c->n_file) ||
			!bitset_init(&c->packed, c->n_file)))
		rc = error_nomem(err, "the sets of clusters",
				 3 * c->n_file / 8);
	if (rc == 0)
		rc = compact_scan(c, err);
	if (rc == 0)
		VALIDATE(compact, c);
	return rc;
}

static void close_compact(struct compact *c)
{
	bitset_release(&c->data);
	bitset_release(&c->tables);
	bitset_release(&c->packed);
	free(c->moves.list);
}

int compact_progress(struct compact *c, struct qcow2_error *err)
{
	if (c->opts->progress &&
	    c->opts->progress(c->opts->opaque,
			      min_u64(c->result->clusters_moved,
				      c->result->clusters_movable),
			      c->result->clusters_movable))
		return error_set(err, -ECANCELED, "compaction was stopped");
	return 0;
}

static uint64_t count_behind(const struct compact *c, bool packed)
{
	uint64_t n = 0;

	for (uint64_t i = c->goal; i < c->n_file; i++)
		n += bitset_test(&c->data, i) || bitset_test(&c->tables, i) ||
		     (packed && bitset_test(&c->packed, i));
	return n;
}

/* Predicts the first moves of a run; the sets are of no use afterwards. */
static int predict(struct compact *c, struct qcow2_error *err)
{
	static const enum packed_aim aims[] = { PACKED_GAPS, PACKED_SPARSE,
						PACKED_END, PACKED_REST };
	struct qcow2_compact_result *r = c->result;
	uint64_t emptied = 0;
	int rc = 0;

	for (int i = 0; rc == 0 && !emptied && i < 4; i++)
		rc = compact_packed_predict(c, aims[i], &emptied, err);
	r->clusters_movable = emptied + count_behind(c, emptied > 0);
	if (!r->clusters_movable)
		c->goal = c->end;
	return rc;
}

/* ---- Moving -------------------------------------------------------------- */

static int compact_move_data(struct compact *c, struct qcow2_error *err)
{
	int rc;

	do {
		rc = compact_begin_moves(c, &c->data, err);
		if (rc < 0 || !c->moves.n)
			return rc;
		rc = compact_repoint_entries(c, err);
		if (rc == 0)
			rc = compact_end_moves(c, &c->data, err);
		if (rc == 0)
			rc = compact_progress(c, err);
	} while (rc == 0);
	return rc;
}

static int shrink_refcounts(struct image *img, struct qcow2_error *err)
{
	bool more = true;
	int rc = commit_drain(&img->writer->commit, err);

	while (rc == 0 && more) {
		rc = refcounts_shrink(&img->writer->refs, &more, err);
		if (rc == 0)
			rc = commit_drain(&img->writer->commit, err);
	}
	return rc;
}

static int move_once(struct compact *c, struct qcow2_error *err)
{
	uint64_t end;
	SCOPED_VALIDATE(compact, c);
	int rc = compact_packed_move(c, PACKED_GAPS, err);

	if (rc == 0)
		rc = compact_packed_move(c, PACKED_SPARSE, err);
	if (rc == 0)
		rc = set_goal(c, &end, err);
	if (rc == 0)
		rc = compact_move_l2_tables(c, err);
	if (rc == 0)
		rc = compact_move_snapshots(c, err);
	if (rc == 0)
		rc = compact_move_l1(c, err);
	if (rc == 0)
		rc = compact_move_bitmaps(c, err);
	if (rc == 0)
		rc = compact_move_data(c, err);
	if (rc == 0)
		rc = compact_packed_move(c, PACKED_END, err);
	if (rc == 0)
		rc = compact_packed_move(c, PACKED_REST, err);
	if (rc == 0)
		rc = shrink_refcounts(c->img, err);
	return rc < 0 ? rc : compact_move_refcounts(c, err);
}

/* Freed clusters may be room for further moves; once the file has no holes
 * left, only for those of compressed data. */
static int move_all(struct compact *c, struct qcow2_error *err)
{
	bool is_packed = compact_packed_any(c);
	uint64_t goal, moved, end;
	int rc;

	do {
		goal = c->goal;
		moved = c->result->clusters_moved;
		rc = move_once(c, err);
		if (rc == 0)
			rc = set_goal(c, &end, err);
	} while (rc == 0 && (is_packed || end > c->goal) &&
		 (moved != c->result->clusters_moved || goal != c->goal));
	return rc;
}

/* ---- The end ------------------------------------------------------------- */

/* Gives back the space of free clusters that stay between others. */
static int punch_holes(struct compact *c, struct qcow2_error *err)
{
	uint32_t bits = c->img->geo.cluster_bits;
	uint64_t free_from = refcounts_next_described(c->refs, 0);
	struct refcount_walk w;
	int rc;

	refcount_walk_init(&w, c->refs, free_from, c->n_file);
	while ((rc = refcount_walk_next(&w, err)) > 0) {
		if (w.count == 0)
			continue;
		if (w.cluster_idx > free_from)
			store_zero(c->img->file,
				   (w.cluster_idx - free_from) << bits,
				   free_from << bits,
				   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK,
				   NULL);
		free_from = w.cluster_idx + 1;
	}
	return rc;
}

static int compact_finish(struct compact *c, struct qcow2_error *err)
{
	int rc = image_drain(c->img, err);

	if (rc == 0)
		rc = punch_holes(c, err);
	if (rc == 0)
		rc = refcounts_cut_tail(c->refs, err);
	return rc;
}

static int compact_run(struct compact *c, struct qcow2_error *err)
{
	int rc = image_drain(c->img, err);
	int end;

	if (rc == 0)
		rc = open_compact(c, err);
	if (rc < 0)
		return rc;
	c->result->clusters_movable = count_behind(c, true);
	rc = compact_progress(c, err);
	if (rc == 0) {
		overlap_forget_inactive_l2(c->img);
		rc = move_all(c, err);
		overlap_learn_inactive_l2(c->img, NULL);
	}
	c->result->clusters_movable =
		max_u64(c->result->clusters_movable, c->result->clusters_moved);
	end = compact_finish(c, rc == 0 ? err : NULL);
	return rc < 0 ? rc : end;
}

int image_compact_check(const struct image *img,
			const struct qcow2_compact_opts *opts,
			struct qcow2_error *err)
{
	if (!(opts->flags & QCOW2_COMPACT_COMPRESS))
		return 0;
	if (!img->geo.has_data_file)
		return encoder_check_level(img->header.compression_type,
					   opts->compress_level, err);
	return error_set(err, -ENOTSUP,
			 "an image with an external data file has no "
			 "compressed clusters");
}

static int compact_look(struct compact *c, struct qcow2_error *err)
{
	uint64_t before = c->result->file_size_before;
	int rc = open_compact(c, err);

	if (rc == 0)
		rc = predict(c, err);
	close_compact(c);
	c->result->file_size_after =
		min_u64(before, c->goal << c->img->geo.cluster_bits);
	return rc;
}

/* An image that is open for reading has no refcounts in memory. */
static int look_only(struct compact *c, struct qcow2_error *err)
{
	struct image *img = c->img;
	struct refcounts own;
	int rc =
		refcounts_open(&own, &img->geo, &img->header, img->file,
			       min_u64(REFCOUNT_CACHE_BYTES_DEFAULT,
				       metadata_budget_refcounts(&img->budget)),
			       err);

	if (rc < 0)
		return rc;
	c->refs = &own;
	rc = compact_look(c, err);
	refcounts_release(&own);
	return rc;
}

static int dry_run(struct compact *c, struct qcow2_error *err)
{
	struct writer *writer = c->img->writer;
	int rc;

	if (!writer)
		return look_only(c, err);
	/* A dry run must not cut the tail it examined. */
	writer->keep_tail = true;
	rc = image_drain(c->img, err);
	c->refs = &writer->refs;
	return rc < 0 ? rc : compact_look(c, err);
}

int image_compact(struct image *img, const struct qcow2_compact_opts *opts,
		  struct qcow2_compact_result *result, struct qcow2_error *err)
{
	struct compact c = { .img = img, .opts = opts, .result = result };
	int rc = image_compact_check(img, opts, err);

	if (rc == 0)
		rc = store_size(img->file, &result->file_size_before, err);
	if (rc < 0)
		return rc;
	if (opts->flags & QCOW2_COMPACT_DRY_RUN)
		return dry_run(&c, err);
	c.refs = &img->writer->refs;
	img->writer->keep_tail = false;
	rc = proof_require(img, err);
	if (rc == 0)
		rc = compact_rewrite(img, opts, result, err);
	if (rc == 0)
		refcounts_allow_cut(&img->writer->refs);
	if (rc == 0)
		rc = compact_run(&c, err);
	close_compact(&c);
	if (store_size(img->file, &result->file_size_after, NULL) < 0)
		result->file_size_after = result->file_size_before;
	return rc;
}
