/*
 * Copying a disk into a new qcow2 image.
 *
 * One walk over the source hands out batches in guest order; each has the
 * number of its turn.  Workers read, look for zeros and compress at the same
 * time, then write in turn.  So the image allocates in guest order, and its
 * bytes do not depend on who was fast.
 *
 * The unit is a cluster of the target: what is not passed over is copied in
 * whole clusters, so that the image never has to fill one up from below.
 */
#include "ops/fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/zero.h"
#include "ops/batch.h"
#include "ops/extents.h"
#include "ops/progress.h"
#include "ops/turns.h"
#include "ops/workers.h"

#define GRANULE_BYTES 4096
#define SPARSE_BYTES_DEFAULT 4096

struct fill {
	struct disk *src;
	struct disk *dst;
	struct disk *backing;    /* what dst shows so far; NULL: zeros */
	uint64_t size;
	uint64_t window_bytes;
	uint32_t unit;		 /* a cluster of dst */
	uint32_t shared_depth;   /* layers of src from here on are backing's */
	uint64_t sparse_bytes;   /* shorter zeros are written */
	bool compress;
	struct progress progress;
	struct turns turns;

	pthread_mutex_t lock; /* guards the walk: */
	struct extents extents;
	uint64_t pos;
	uint64_t n_batches;
};

/* What a worker has of its batch.  `encoded` holds clusters at the places they
 * have in `plain`, n_encoded their sizes: 0 where encoding did not help. */
struct room {
	uint8_t *plain;
	uint8_t *encoded;
	size_t *n_encoded;
	struct batch batch;
	uint64_t turn;
};

/* ---- The walk ---------------------------------------------------------------- */

enum part {
	PART_SHARED, /* dst shows it already */
	PART_ZERO,
	PART_DATA,
};

static enum part part_of(const struct fill *f, const struct qcow2_extent *x)
{
	if (f->sparse_bytes == QCOW2_CONVERT_NOT_SPARSE)
		return PART_DATA;
	if (x->flags & QCOW2_EXTENT_ZERO)
		return f->backing ? PART_ZERO : PART_SHARED;
	return x->depth >= f->shared_depth ? PART_SHARED : PART_DATA;
}

/* Passes over whole clusters at the walk's place that need no reading, or puts
 * those that do into the batch.  The place is at the start of a cluster. */
static int fill_step(struct fill *f, struct batch *b, struct qcow2_error *err)
{
	struct qcow2_extent x;
	enum part part;
	uint64_t end;
	int rc = extents_at(&f->extents, f->pos, &x, err);

	if (rc < 0)
		return rc;
	part = part_of(f, &x);
	end = min_u64(f->pos + x.len, f->size);
	if (end < f->size)
		end = align_down(end, f->unit);
	/* A cluster of several extents is read, whatever they are. */
	if (end == f->pos || part == PART_DATA)
		end = min_u64(align_up(f->pos + x.len, f->unit), f->size);
	if (x.len < end - f->pos)
		part = PART_DATA;
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
static int fill_next(struct fill *f, struct room *r, struct qcow2_error *err)
{
	struct batch *b = &r->batch;
	uint64_t begin;
	int rc = 0;

	batch_clear(b, f->window_bytes);
	SCOPED_LOCK(&f->lock);
	begin = f->pos;
	while (rc == 0 && f->pos < f->size && !batch_is_full(b, f->pos) &&
	       is_in_window(b, f->pos)) {
		b->n_steps++;
		rc = fill_step(f, b, err);
	}
	b->covered = f->pos - begin;
	if (rc == 0 && b->covered)
		r->turn = f->n_batches++;
	return rc;
}

/* ---- Reading ----------------------------------------------------------------- */

/* All pieces to be read lie in one window, at their places in it. */
static uint64_t place_of(const struct fill *f, uint64_t off)
{
	return off & (f->window_bytes - 1);
}

static bool passes_over(const struct fill *f, const void *buf, uint64_t len)
{
	return f->sparse_bytes != QCOW2_CONVERT_NOT_SPARSE &&
	       is_zero(buf, len);
}

static int encode_piece(struct fill *f, struct room *r, const struct piece *p,
			struct qcow2_error *err)
{
	uint64_t at = place_of(f, p->off);
	uint64_t end = at + p->len;
	int rc = 0;

	/* The last cluster of the disk may end behind it. */
	memset(r->plain + end, 0, align_up(end, f->unit) - end);
	for (; rc == 0 && at < end; at += f->unit) {
		if (passes_over(f, r->plain + at, f->unit))
			continue;
		rc = disk_encode(f->dst, r->encoded + at, r->plain + at,
				 &r->n_encoded[at / f->unit], err);
	}
	return rc;
}

static int read_batch(struct fill *f, struct room *r, struct qcow2_error *err)
{
	for (unsigned i = 0; i < r->batch.n; i++) {
		const struct piece *p = &r->batch.pieces[i];
		int rc = 0;

		if (p->reads)
			rc = disk_pread(f->src, r->plain + place_of(f, p->off),
					p->len, p->off, 0, err);
		if (rc == 0 && p->reads && f->compress)
			rc = encode_piece(f, r, p, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- Writing, in turn ---------------------------------------------------------- */

/* Makes dst read as zeros where its backing file has data. */
static int write_zeros(struct fill *f, uint64_t len, uint64_t off,
		       struct qcow2_error *err)
{
	uint64_t below = f->backing ? disk_size(f->backing) : 0;
	uint64_t end = min_u64(off + len, below);

	while (off < end) {
		struct qcow2_extent x;
		int rc = disk_map(f->backing, end - off, off, 0, &x, err);
		uint64_t to;

		if (rc < 0)
			return rc;
		to = min_u64(align_up(off + x.len, f->unit), f->size);
		if (x.flags & QCOW2_EXTENT_ZERO)
			to = off + x.len;
		else
			rc = disk_zero(f->dst, to - off, off, 0, err);
		if (rc < 0)
			return rc;
		off = to;
	}
	return 0;
}

static int write_bytes(struct fill *f, const uint8_t *buf, uint64_t len,
		       uint64_t off, struct qcow2_error *err)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return len ? disk_pwritev(f->dst, &iov, 1, off, 0, err) : 0;
}

/* Over zeros: without those at least sparse_bytes long. */
static int write_sparse(struct fill *f, const uint8_t *buf, uint64_t len,
			uint64_t off, struct qcow2_error *err)
{
	uint64_t begin = 0; /* of what is to be written */
	uint64_t zeros = 0; /* of the zeros that end at `at` */
	uint64_t at = 0;
	int rc = 0;

	while (rc == 0 && at < len) {
		uint64_t n = min_u64(GRANULE_BYTES, len - at);

		if (passes_over(f, buf + at, n)) {
			zeros += n;
		} else {
			if (zeros == at - begin)
				begin = zeros ? at : begin;
			else if (zeros >= f->sparse_bytes) {
				rc = write_bytes(f, buf + begin,
						 at - zeros - begin,
						 off + begin, err);
				begin = at;
			}
			zeros = 0;
		}
		at += n;
	}
	return rc < 0 ? rc
		      : write_bytes(f, buf + begin, len - zeros - begin,
				    off + begin, err);
}

/* Over a backing file: whole clusters, zeros where they are zero. */
static int write_clusters(struct fill *f, const uint8_t *buf, uint64_t len,
			  uint64_t off, struct qcow2_error *err)
{
	uint64_t n;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < len; at += n) {
		bool zero;

		n = min_u64(f->unit, len - at);
		zero = passes_over(f, buf + at, n);
		while (at + n < len) {
			uint64_t more = min_u64(f->unit, len - at - n);

			if (passes_over(f, buf + at + n, more) != zero)
				break;
			n += more;
		}
		rc = zero ? write_zeros(f, n, off + at, err)
			  : write_bytes(f, buf + at, n, off + at, err);
	}
	return rc;
}

static int write_compressed(struct fill *f, const struct room *r,
			    const struct piece *p, struct qcow2_error *err)
{
	uint64_t at = place_of(f, p->off);
	int rc = 0;

	for (uint64_t done = 0; rc == 0 && done < p->len; done += f->unit) {
		const uint8_t *cluster = r->plain + at + done;
		uint64_t n = min_u64(f->unit, p->len - done);

		if (passes_over(f, cluster, n))
			rc = write_zeros(f, n, p->off + done, err);
		else
			rc = disk_write_encoded(
				f->dst, r->encoded + at + done,
				r->n_encoded[(at + done) / f->unit], cluster,
				p->off + done, err);
	}
	return rc;
}

static int write_piece(struct fill *f, const struct room *r,
		       const struct piece *p, struct qcow2_error *err)
{
	const uint8_t *buf = r->plain + place_of(f, p->off);

	if (!p->reads)
		return write_zeros(f, p->len, p->off, err);
	if (f->compress)
		return write_compressed(f, r, p, err);
	if (f->backing)
		return write_clusters(f, buf, p->len, p->off, err);
	return write_sparse(f, buf, p->len, p->off, err);
}

static int write_batch(struct workers *w, struct fill *f, const struct room *r,
		       struct qcow2_error *err)
{
	int rc = 0;

	if (!turns_wait(&f->turns, r->turn))
		return 0; /* another worker failed, and says why */
	for (unsigned i = 0; rc == 0 && i < r->batch.n; i++)
		if (!workers_stopped(w))
			rc = write_piece(f, r, &r->batch.pieces[i], err);
	turns_pass(&f->turns);
	return rc;
}

/* ---- Workers ----------------------------------------------------------------- */

static int fill_loop(struct workers *w, struct fill *f, struct room *r,
		     struct qcow2_error *err)
{
	while (!workers_stopped(w)) {
		int rc = fill_next(f, r, err);

		if (rc < 0 || !r->batch.covered)
			return rc;
		rc = read_batch(f, r, err);
		if (rc == 0)
			rc = write_batch(w, f, r, err);
		if (rc == 0)
			rc = progress_add(&f->progress, r->batch.covered, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int fill_work(struct workers *w, unsigned index, void *opaque,
		     struct qcow2_error *err)
{
	struct fill *f = opaque;
	uint64_t n_units = f->window_bytes / f->unit;
	CLEANUP_FREE uint8_t *plain =
		aligned_alloc(BUFFER_ALIGN, f->window_bytes);
	CLEANUP_FREE uint8_t *encoded =
		f->compress ? malloc(f->window_bytes) : NULL;
	CLEANUP_FREE size_t *n_encoded = calloc(n_units, sizeof(*n_encoded));
	struct room r = { .plain = plain, .encoded = encoded,
			  .n_encoded = n_encoded };
	int rc;

	(void)index;
	if (!plain || !n_encoded || (f->compress && !encoded))
		rc = error_nomem(err, "a copy buffer", 2 * f->window_bytes);
	else
		rc = fill_loop(w, f, &r, err);
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
	rc = workers_run(workers_count(opts->n_threads, n_windows), fill_work,
			 f, err);
	if (rc == 0)
		rc = progress_finish(&f->progress, err);
	progress_release(&f->progress);
	turns_release(&f->turns);
	pthread_mutex_destroy(&f->lock);
	return rc;
}

int ops_fill(struct disk *src, struct disk *dst, struct disk *backing,
	     const struct qcow2_convert_opts *opts, struct qcow2_error *err)
{
	struct fill f = {
		.src = src,
		.dst = dst,
		.backing = backing,
		.size = disk_size(src),
		.window_bytes = max_u64(batch_window_bytes(src),
					disk_cluster_size(dst)),
		.unit = disk_cluster_size(dst),
		.shared_depth = backing ? disk_find(src, backing) : UINT32_MAX,
		.sparse_bytes = opts->sparse_bytes ? opts->sparse_bytes
						   : SPARSE_BYTES_DEFAULT,
		.compress = opts->flags & QCOW2_CONVERT_COMPRESS,
	};

	extents_init(&f.extents, src);
	return fill_run(&f, opts, err);
}
