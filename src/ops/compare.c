/*
 * Comparing what two disks read as.
 *
 * As in convert, one walk hands out batches, here over the extents of both
 * disks side by side; it passes over bytes that both read as zeros, or have at
 * the same place of the same file.
 */
#include "ops/compare.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/zero.h"
#include "ops/batch.h"
#include "ops/extents.h"
#include "ops/progress.h"
#include "ops/verdict.h"
#include "ops/workers.h"
#include "store/store.h"

/* Differences are reported as the sector that holds them, as qemu-img does. */
#define SECTOR_BYTES 512

struct compare {
	struct disk *disks[2];
	uint64_t total; /* size of the larger disk */
	uint64_t window_bytes;
	bool strict;
	struct verdict verdict;
	struct progress progress;

	pthread_mutex_t lock; /* guards the walk: */
	struct extents extents[2];
	uint64_t pos;
};

static void add_failure(struct compare *c, unsigned side, uint64_t off, int rc,
			const struct qcow2_error *err)
{
	verdict_add(&c->verdict, &(struct event){ .off = off,
						  .failed_image = side + 1,
						  .rc = rc,
						  .err = *err });
}

static void add_difference(struct compare *c, enum qcow2_difference difference,
			   uint64_t off)
{
	verdict_add(&c->verdict,
		    &(struct event){ .off = off, .difference = difference });
}

/* The same bytes of one file cannot differ.  Two overlays of one backing file
 * are compared in the time their own data takes. */
static bool same_bytes(struct compare *c, const struct qcow2_extent e[2])
{
	const uint32_t plain = QCOW2_EXTENT_DATA | QCOW2_EXTENT_HOST_OFF;
	struct qcow2_store *a;
	struct qcow2_store *b;

	if ((e[0].flags & e[1].flags & plain) != plain ||
	    e[0].host_off != e[1].host_off)
		return false;
	a = disk_extent_store(c->disks[0], &e[0]);
	b = disk_extent_store(c->disks[1], &e[1]);
	return a && b && store_same_file(a, b);
}

static unsigned reads_of(const struct qcow2_extent e[2])
{
	unsigned reads = 0;

	if (!(e[0].flags & QCOW2_EXTENT_ZERO))
		reads |= READ_FIRST;
	if (!(e[1].flags & QCOW2_EXTENT_ZERO))
		reads |= READ_SECOND;
	return reads;
}

/* One extent of both disks.  False ends the walk: the answer is known. */
static bool compare_step(struct compare *c, struct batch *b)
{
	struct qcow2_extent e[2];
	uint64_t len = c->total - c->pos;
	unsigned reads;

	for (unsigned i = 0; i < 2; i++) {
		struct qcow2_error err = { 0 };
		int rc = extents_at(&c->extents[i], c->pos, &e[i], &err);

		if (rc < 0) {
			add_failure(c, i, c->pos, rc, &err);
			return false;
		}
		len = min_u64(len, e[i].len);
	}
	if (c->strict && e[0].flags != e[1].flags) {
		add_difference(c, QCOW2_DIFFERENT_ALLOCATION, c->pos);
		return false;
	}
	reads = reads_of(e);
	if (reads && (len <= BATCH_GAP_BYTES || !same_bytes(c, e))) {
		len = min_u64(len, batch_room(b, c->pos, reads));
		batch_add(b, len, c->pos, reads);
	}
	c->pos += len;
	return true;
}

/* The next batch; it covers nothing when the walk is at its end. */
static void compare_next(struct compare *c, struct batch *b)
{
	uint64_t begin;

	batch_clear(b, c->window_bytes);
	SCOPED_LOCK(&c->lock);
	begin = c->pos;
	while (c->pos < c->total && !batch_is_full(b, c->pos) &&
	       !verdict_covers(&c->verdict, c->pos)) {
		b->n_steps++;
		if (!compare_step(c, b))
			break;
	}
	b->covered = c->pos - begin;
}

/* Fills @buf; zeros lie past the end of a disk. */
static int read_side(struct disk *d, uint8_t *buf, size_t len, uint64_t off,
		     struct qcow2_error *err)
{
	uint64_t size = disk_size(d);
	size_t inside = 0;
	int rc = 0;

	if (off < size)
		inside = (size_t)min_u64(len, size - off);
	if (inside)
		rc = disk_pread(d, buf, inside, off, 0, err);
	memset(buf + inside, 0, len - inside);
	return rc;
}

/* Returns the offset of the first differing sector, UINT64_MAX if there is
 * none.  @b NULL stands for zeros. */
static uint64_t first_difference(const uint8_t *a, const uint8_t *b, size_t len,
				 uint64_t off)
{
	size_t pos = 0;

	if (b ? !memcmp(a, b, len) : is_zero(a, len))
		return UINT64_MAX;
	while (pos < len) {
		uint64_t sector = align_down(off + pos, SECTOR_BYTES);
		size_t n = (size_t)min_u64(sector + SECTOR_BYTES - (off + pos),
					   len - pos);

		if (b ? memcmp(a + pos, b + pos, n) : !is_zero(a + pos, n))
			return sector;
		pos += n;
	}
	return UINT64_MAX;
}

static void compare_piece(struct compare *c, const struct batch_piece *p,
			  uint8_t *bufs)
{
	const uint8_t *read[2];
	unsigned n_read = 0;
	uint64_t off;

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *buf = bufs + n_read * c->window_bytes;
		struct qcow2_error err = { 0 };
		int rc;

		if (!(p->reads & (i ? READ_SECOND : READ_FIRST)))
			continue;
		rc = read_side(c->disks[i], buf, (size_t)p->len, p->off, &err);
		if (rc < 0) {
			add_failure(c, i, p->off, rc, &err);
			return;
		}
		read[n_read++] = buf;
	}
	off = first_difference(read[0], n_read == 2 ? read[1] : NULL,
			       (size_t)p->len, p->off);
	if (off != UINT64_MAX)
		add_difference(c, QCOW2_DIFFERENT_CONTENT, off);
}

static int compare_work(struct workers *w, unsigned index, void *opaque,
			struct qcow2_error *err)
{
	struct compare *c = opaque;
	CLEANUP_FREE uint8_t *bufs =
		alloc_aligned(BUFFER_ALIGN, 2 * c->window_bytes);
	struct batch b;

	(void)index;
	if (!bufs)
		return error_nomem(err, "compare buffers", 2 * c->window_bytes);
	while (!workers_stopped(w)) {
		int rc;

		compare_next(c, &b);
		batch_wake(&b, w, c->disks[0], READ_FIRST);
		batch_wake(&b, w, c->disks[1], READ_SECOND);
		for (unsigned i = 0; i < b.n; i++)
			if (!verdict_covers(&c->verdict, b.pieces[i].off))
				compare_piece(c, &b.pieces[i], bufs);
		if (!b.covered)
			return 0;
		rc = progress_add(&c->progress, b.covered, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Turns what was found into the caller's result. */
static int conclude(struct compare *c, struct qcow2_compare_result *result,
		    struct qcow2_error *err)
{
	const struct event *event = &c->verdict.event;

	if (event->off == UINT64_MAX)
		return progress_finish(&c->progress, err);
	result->offset = event->off;
	result->difference = event->difference;
	result->failed_image = event->failed_image;
	if (event->failed_image && err)
		*err = event->err;
	return event->rc;
}

static int compare_run(struct compare *c, const struct qcow2_compare_opts *opts,
		       struct qcow2_compare_result *result,
		       struct qcow2_error *err)
{
	uint64_t n_windows = div_round_up(c->total, c->window_bytes);
	int rc;

	pthread_mutex_init(&c->lock, NULL);
	verdict_init(&c->verdict);
	progress_init(&c->progress, opts->progress, opts->opaque, c->total);
	rc = workers_run(workers_count(opts->n_threads, n_windows), false,
			 compare_work, c, err);
	if (rc == 0)
		rc = conclude(c, result, err);
	progress_release(&c->progress);
	verdict_release(&c->verdict);
	pthread_mutex_destroy(&c->lock);
	return rc;
}

int ops_compare(struct disk *a, struct disk *b,
		const struct qcow2_compare_opts *opts,
		struct qcow2_compare_result *result, struct qcow2_error *err)
{
	bool strict = opts->flags & QCOW2_COMPARE_STRICT;
	struct compare c = {
		.disks = { a, b },
		.window_bytes =
			max_u64(batch_window_bytes(a), batch_window_bytes(b)),
		.strict = strict,
	};

	/* Either may grow meanwhile. */
	extents_init(&c.extents[0], a, UINT64_MAX);
	extents_init(&c.extents[1], b, UINT64_MAX);
	c.total = max_u64(c.extents[0].size, c.extents[1].size);
	*result = (struct qcow2_compare_result){
		.struct_size = sizeof(*result),
		.sizes_differ = c.extents[0].size != c.extents[1].size,
	};
	if (strict && result->sizes_differ) {
		result->difference = QCOW2_DIFFERENT_SIZE;
		return 0;
	}
	return compare_run(&c, opts, result, err);
}
