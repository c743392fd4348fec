/*
 * Copying a disk out to raw.
 *
 * One walk over the source's extents, under one lock, hands batches to the
 * workers; ranges without data in the source are passed over there.  Workers
 * read, look for zeros and write on their own.
 */
#include "ops/convert.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "ops/apart.h"
#include "ops/batch.h"
#include "ops/extents.h"
#include "ops/offload.h"
#include "ops/pace.h"
#include "ops/pair.h"
#include "ops/progress.h"
#include "ops/room.h"
#include "ops/target.h"
#include "ops/workers.h"
#include "store/hold.h"
#include "store/store.h"

struct convert {
	struct disk *src;
	uint64_t size;
	uint64_t window_bytes;
	struct target target;
	struct pace pace;
	struct progress progress;

	pthread_mutex_t lock; /* guards the walk: */
	struct extents extents;
	struct offload offload;
	uint64_t pos;
};

/* Passes over the extent at the walk's place, or puts its beginning into the
 * batch. */
static int convert_step(struct convert *c, struct batch *b,
			struct qcow2_error *err)
{
	struct qcow2_extent extent;
	unsigned reads = READ_FIRST;
	uint64_t shared;
	int rc = extents_at(&c->extents, c->pos, &extent, err);

	if (rc < 0)
		return rc;
	if (extent.flags & QCOW2_EXTENT_ZERO)
		reads = 0;
	if (!reads && !target_wants_zeros(&c->target)) {
		c->pos += extent.len;
		return 0;
	}
	shared = reads ? offload_share(&c->offload, &extent) : 0;
	if (!shared) {
		extent.len = min_u64(extent.len, batch_room(b, c->pos, reads));
		batch_add(b, extent.len, c->pos, reads);
		shared = extent.len;
	}
	c->pos += shared;
	return 0;
}

/* The next batch; it covers nothing when the walk is at its end. */
static int convert_next(struct convert *c, struct batch *b,
			struct qcow2_error *err)
{
	uint64_t begin;
	int rc;

	batch_clear(b, c->window_bytes);
	SCOPED_LOCK(&c->lock);
	begin = c->pos;
	while (c->pos < c->size && !batch_is_full(b, c->pos)) {
		b->n_steps++;
		rc = convert_step(c, b, err);
		if (rc < 0)
			return rc;
	}
	b->covered = c->pos - begin;
	return 0;
}

static int convert_piece(struct convert *c, const struct batch_piece *p,
			 uint8_t *buf, struct qcow2_error *err)
{
	int rc;

	if (!p->reads)
		return target_zero(&c->target, p->len, p->off, err);
	rc = disk_pread(c->src, buf, (size_t)p->len, p->off, 0, err);
	if (rc < 0)
		return rc;
	return target_write(&c->target, buf, (size_t)p->len, p->off, err);
}

static int convert_batch(struct workers *w, struct convert *c,
			 const struct batch *b, uint8_t *buf,
			 struct qcow2_error *err)
{
	int rc;

	for (unsigned i = 0; i < b->n && !workers_stopped(w); i++) {
		rc = convert_piece(c, &b->pieces[i], buf, err);
		if (rc < 0)
			return rc;
	}
	rc = progress_add(&c->progress, b->covered, err);
	return rc < 0 ? rc
		      : pace_add(&c->pace, b->data_bytes, w, &c->progress, err);
}

static int convert_work(struct workers *w, unsigned index, void *opaque,
			struct qcow2_error *err)
{
	struct convert *c = opaque;
	CLEANUP_FREE uint8_t *buf =
		alloc_aligned(BUFFER_ALIGN, c->window_bytes);
	struct batch b;
	int rc;

	(void)index;
	if (!buf)
		return error_nomem(err, "a copy buffer", c->window_bytes);
	while (!workers_stopped(w)) {
		rc = convert_next(c, &b, err);
		if (rc == 0 && !b.covered)
			return 0;
		if (rc == 0)
			batch_wake(&b, w, c->src, READ_FIRST);
		if (rc == 0)
			rc = convert_batch(w, c, &b, buf, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int convert_run(struct convert *c, const struct qcow2_convert_opts *opts,
		       struct qcow2_error *err)
{
	uint64_t n_windows = div_round_up(c->size, c->window_bytes);
	int rc;

	pthread_mutex_init(&c->lock, NULL);
	progress_init(&c->progress, opts->progress, opts->opaque, c->size);
	rc = workers_run(workers_count(opts->n_threads, n_windows),
			 opts->flags & QCOW2_CONVERT_DIRECT, convert_work, c,
			 err);
	if (rc == 0)
		rc = progress_finish(&c->progress, err);
	progress_release(&c->progress);
	pthread_mutex_destroy(&c->lock);
	return rc;
}

/* How long zeros have to be to become holes. */
static uint64_t sparse_bytes(const struct qcow2_convert_opts *opts)
{
	if (opts->preallocation == QCOW2_PREALLOC_FULL)
		return QCOW2_CONVERT_NOT_SPARSE;
	return opts->sparse_bytes ? opts->sparse_bytes : SPARSE_BYTES_DEFAULT;
}

/* Before the work, which would end in want of space otherwise. */
static int reserve(struct qcow2_store *store, uint64_t size,
		   const struct qcow2_convert_opts *opts,
		   struct qcow2_error *err)
{
	if (opts->preallocation != QCOW2_PREALLOC_FALLOC || !size)
		return 0;
	return store_zero(store, size, 0, 0, err);
}

static int copy_out(struct disk *src, struct qcow2_store *store,
		    const struct qcow2_convert_opts *opts,
		    struct qcow2_error *err)
{
	struct convert c = {
		.src = src,
		.window_bytes = batch_window_bytes(src),
	};
	int rc;

	extents_init(&c.extents, src, UINT64_MAX);
	c.size = c.extents.size;
	rc = target_init(&c.target, store, c.size, sparse_bytes(opts), err);
	if (rc == 0)
		rc = reserve(store, c.size, opts, err);
	if (rc < 0)
		return rc;
	pace_init(&c.pace, opts->bytes_per_sec);
	offload_init(&c.offload, src, store,
		     !(opts->flags & QCOW2_CONVERT_NO_REFLINK) &&
			     !c.target.write_all && !opts->preallocation);
	return convert_run(&c, opts, err);
}

int ops_convert_raw_store(struct disk *src, struct qcow2_store *target,
			  const struct qcow2_convert_opts *opts,
			  struct qcow2_error *err)
{
	CLEANUP_HOLD struct store_hold hold = { 0 };
	int rc = store_check_writable(target, err);

	if (rc == 0)
		rc = store_hold(&hold, target, HOLD_WRITE, err);
	if (rc == 0)
		rc = copy_out(src, target, opts, err);
	if (rc < 0 || (opts->flags & QCOW2_CONVERT_NO_SYNC))
		return rc;
	return store_flush(target, err);
}

/* ---- At a path ----------------------------------------------------------- */

struct raw_copy {
	struct disk *src;
	const struct qcow2_convert_opts *opts;
};

static int check_source(void *opaque, const struct publish *file,
			struct qcow2_error *err)
{
	const struct raw_copy *c = opaque;

	return apart_check_publish(file, c->src, "the source", err);
}

static int fill_file(void *opaque, const struct publish *file,
		     struct qcow2_store *data, struct qcow2_error *err)
{
	const struct raw_copy *c = opaque;

	(void)data;
	return copy_out(c->src, file->store, c->opts, err);
}

int ops_convert_raw(struct disk *src, const char *path,
		    const struct qcow2_convert_opts *opts, unsigned how,
		    struct qcow2_error *err)
{
	bool writes_all = opts->preallocation ||
			  opts->sparse_bytes == QCOW2_CONVERT_NOT_SPARSE;
	struct raw_copy c = { src, opts };
	struct pair file = {
		.path = path,
		.where = {
			.flags = how,
			.bytes_max = disk_size(src),
			.count = writes_all ? NULL : room_for_data,
			.opaque = src,
			.placement = opts->placement,
		},
		.syncs = !(opts->flags & QCOW2_CONVERT_NO_SYNC),
		.check = check_source,
		.fill = fill_file,
		.opaque = &c,
	};

	return pair_make(&file, err);
}
