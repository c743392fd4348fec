/*
 * Copying a disk into a new qcow2 image.
 *
 * One walk over the source hands out batches in guest order; each has the
 * number of its turn.  Workers read, look for zeros and compress at the same
 * time, find places in the image in turn, and write to them at the same time
 * again.  So the image allocates in guest order, and its bytes do not depend on
 * which worker was fast.
 *
 * The unit is a cluster of the target: all that is not passed over is copied in
 * whole clusters, so that the image never has to fill one up from below.
 */
#include "ops/fill.h"

#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "ops/fill_impl.h"

void fill_validate(const struct fill *f)
{
	assert(f->src && f->dst && f->unit);
	/* "At least as large as any cluster": places are found by a mask. */
	assert((f->window_bytes & (f->window_bytes - 1)) == 0);
	assert(f->window_bytes % f->unit == 0);
	/* "All that is not passed over is copied in whole clusters". */
	assert(f->pos == f->size ||
	       (f->pos < f->size && f->pos % f->unit == 0));
	/* Each batch has gone on by something. */
	assert(f->n_batches <= f->pos);
}

/* ---- The walk ------------------------------------------------------------ */

enum fill_part {
	PART_SHARED, /* dst shows it already */
	PART_ZERO,
	PART_DATA,
};

static enum fill_part part_of(const struct fill *f,
			      const struct qcow2_extent *x)
{
	if (f->sparse_bytes == QCOW2_CONVERT_NOT_SPARSE)
		return PART_DATA;
	if (x->depth >= f->shared_depth)
		return PART_SHARED;
	if (x->flags & QCOW2_EXTENT_ZERO)
		return f->backing || f->writes_zeros ? PART_ZERO : PART_SHARED;
	return PART_DATA;
}

/* A shared extent comes alone: a batch that is not empty ends before it. */
static void take_shared(struct fill *f, struct fill_room *r,
			const struct qcow2_extent *x)
{
	r->is_full = true;
	if (r->batch.n)
		return;
	r->shared = *x;
	r->shared.len = fill_share_len(f, x);
	f->pos += r->shared.len;
}

/* A cluster of several extents is passed over or zeroed where all of them are,
 * and read otherwise. */
static int part_of_cluster(struct fill *f, enum fill_part *part,
			   struct qcow2_error *err)
{
	uint64_t end = min_u64(f->pos + f->unit, f->size);
	uint64_t at = f->pos;

	while (at < end && *part != PART_DATA) {
		struct qcow2_extent x;
		int rc = extents_at(&f->extents, at, &x, err);

		if (rc < 0)
			return rc;
		if (part_of(f, &x) != *part)
			*part = PART_DATA;
		at += x.len;
	}
	return 0;
}

/* Passes over whole clusters at the walk's place that need no reading, or puts
 * those that do into the batch.  The place is at the start of a cluster. */
static int fill_step(struct fill *f, struct fill_room *r,
		     struct qcow2_error *err)
{
	struct batch *b = &r->batch;
	struct qcow2_extent x;
	enum fill_part part;
	uint64_t end;
	int rc = extents_at(&f->extents, f->pos, &x, err);

	if (rc < 0)
		return rc;
	part = part_of(f, &x);
	if (part == PART_DATA && fill_share_len(f, &x)) {
		take_shared(f, r, &x);
		return 0;
	}
	end = min_u64(f->pos + x.len, f->size);
	if (part == PART_DATA)
		end = min_u64(align_up(end, f->unit), f->size);
	else if (end < f->size)
		end = align_down(end, f->unit);
	if (end == f->pos) {
		end = min_u64(f->pos + f->unit, f->size);
		rc = part_of_cluster(f, &part, err);
		if (rc < 0)
			return rc;
	}
	if (part != PART_SHARED) {
		unsigned reads = part == PART_DATA ? READ_FIRST : 0;

		end = min_u64(end, f->pos + batch_room(b, f->pos, reads));
		batch_add(b, end - f->pos, f->pos, reads);
	}
	f->pos = end;
	return 0;
}

/* One window is all the room there is for what is read. */
static bool is_in_window(const struct batch *b, uint64_t pos)
{
	for (unsigned i = 0; b->data_bytes && i < b->n; i++)
		if (b->pieces[i].reads)
			return pos / b->window_bytes ==
			       b->pieces[i].off / b->window_bytes;
	return true;
}

/* The next batch; it covers nothing when the walk is at its end. */
static int fill_next(struct fill *f, struct fill_room *r,
		     struct qcow2_error *err)
{
	struct batch *b = &r->batch;
	uint64_t begin;
	int rc = 0;

	batch_clear(b, f->window_bytes);
	r->shared.len = 0;
	r->is_full = false;
	SCOPED_LOCK(&f->lock);
	SCOPED_VALIDATE(fill, f);
	begin = f->pos;
	while (rc == 0 && f->pos < f->size && !batch_is_full(b, f->pos) &&
	       !r->is_full && is_in_window(b, f->pos)) {
		b->n_steps++;
		rc = fill_step(f, r, err);
	}
	b->covered = f->pos - begin;
	if (rc == 0 && b->covered)
		r->turn = f->n_batches++;
	return rc;
}

/* ---- Workers ------------------------------------------------------------- */

static int fill_loop(struct workers *w, struct fill *f, struct fill_room *r,
		     struct qcow2_error *err)
{
	while (!workers_stopped(w)) {
		int rc = fill_next(f, r, err);

		if (rc < 0 || !r->batch.covered)
			return rc;
		batch_wake(&r->batch, w, f->src, READ_FIRST);
		rc = fill_runs(f, r, err);
		if (rc == 0)
			rc = fill_place(w, f, r, err);
		if (rc == 0)
			rc = progress_add(&f->progress, r->batch.covered, err);
		if (rc == 0)
			rc = pace_add(&f->pace, r->batch.data_bytes, w,
				      &f->progress, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int fill_work(struct workers *w, unsigned index, void *opaque,
		     struct qcow2_error *err)
{
	struct fill *f = opaque;
	CLEANUP_FREE uint8_t *plain =
		alloc_aligned(BUFFER_ALIGN, f->window_bytes);
	CLEANUP_FREE uint8_t *encoded =
		f->compress ? alloc_bytes(f->window_bytes) : NULL;
	CLEANUP_FREE struct fill_run *runs =
		calloc(fill_runs_max(f), sizeof(*runs));
	CLEANUP_FREE struct fill_room *r = calloc(1, sizeof(*r));
	int rc;

	(void)index;
	if (!plain || !runs || !r || (f->compress && !encoded)) {
		rc = error_nomem(err, "a copy buffer", 2 * f->window_bytes);
	} else {
		r->plain = plain;
		r->encoded = encoded;
		r->runs = runs;
		rc = fill_loop(w, f, r, err);
	}
	if (rc < 0)
		turns_stop(&f->turns);
	return rc;
}

static int fill_run(struct fill *f, const struct qcow2_convert_opts *opts,
		    struct qcow2_error *err)
{
	uint64_t n_windows = div_round_up(f->size, f->window_bytes);
	int rc;

	pthread_mutex_init(&f->lock, NULL);
	turns_init(&f->turns);
	progress_init(&f->progress, opts->progress, opts->opaque, f->size);
	rc = workers_run(workers_count(opts->n_threads, n_windows),
			 opts->flags & QCOW2_CONVERT_DIRECT, fill_work, f, err);
	if (rc == 0)
		rc = progress_finish(&f->progress, err);
	progress_release(&f->progress);
	turns_release(&f->turns);
	pthread_mutex_destroy(&f->lock);
	return rc;
}

static int fill_all(struct fill *f, const struct qcow2_convert_opts *opts,
		    struct qcow2_error *err)
{
	int rc;

	/* The source may have grown since it was held against the target. */
	extents_init(&f->extents, f->src, disk_size(f->dst));
	f->size = f->extents.size;
	f->unit = disk_cluster_size(f->dst);
	f->window_bytes = max_u64(batch_window_bytes(f->src), f->unit);
	f->shared_depth = f->backing ? disk_find(f->src, f->backing)
				     : UINT32_MAX;
	f->sparse_bytes = opts->sparse_bytes ? opts->sparse_bytes
					     : SPARSE_BYTES_DEFAULT;
	f->compress = opts->flags & QCOW2_CONVERT_COMPRESS;
	pace_init(&f->pace, opts->bytes_per_sec);
	rc = fill_share_init(f, opts, err);
	if (rc == 0)
		rc = fill_run(f, opts, err);
	free(f->share.layers);
	return rc;
}

int ops_fill(struct disk *src, struct disk *dst, struct disk *backing,
	     const struct qcow2_convert_opts *opts, struct qcow2_error *err)
{
	struct fill f = { .src = src,
			  .dst = dst,
			  .backing = backing,
			  .is_new = true,
			  .in_order = true };

	return fill_all(&f, opts, err);
}

int ops_fill_existing(struct disk *src, struct disk *dst, struct disk *backing,
		      const struct qcow2_convert_opts *opts,
		      struct qcow2_error *err)
{
	bool is_zero = opts->flags & QCOW2_CONVERT_TARGET_IS_ZERO;
	struct fill f = { .src = src,
			  .dst = dst,
			  .backing = backing,
			  .writes_zeros = !is_zero,
			  .in_order = disk_gives_places(dst) };

	return fill_all(&f, opts, err);
}
