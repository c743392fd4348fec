#include "ops/batch.h"

#include <assert.h>
#include <errno.h>

#include "base/checked.h"

/*
 * Small enough that the bytes are still in the processor's cache when they are
 * looked at and written, large enough that system calls do not count.
 */
#define WINDOW_BYTES_MIN (512 * 1024)
#define WINDOW_BYTES_MAX (2 * 1024 * 1024)

/* So much is zeroed at a time: if the host has no better way than writing,
 * progress and cancellation still come through. */
#define ZERO_BYTES_MAX (256 * 1024 * 1024)

/* A worker comes back from a long walk over nothing, for the same reason. */
#define STEPS_MAX 4096

uint64_t batch_window_bytes(struct disk *d)
{
	uint64_t window = max_u64(WINDOW_BYTES_MIN, disk_cluster_size(d));

	for (uint32_t i = 1; i < disk_layer_count(d); i++) {
		struct qcow2_info info = { .struct_size = sizeof(info) };

		if (disk_get_info(d, i, &info, NULL) == 0)
			window = max_u64(window, info.cluster_size);
	}
	assert(window <= WINDOW_BYTES_MAX && (window & (window - 1)) == 0);
	return window;
}

static bool same_window(const struct batch *b, uint64_t off1, uint64_t off2)
{
	return off1 / b->window_bytes == off2 / b->window_bytes;
}

static void batch_piece_validate(const struct batch *b,
				 const struct batch_piece *p)
{
	assert(p->len && !(p->reads & ~(READ_FIRST | READ_SECOND)));
	if (!p->reads)
		assert(p->len <= ZERO_BYTES_MAX);
	else
		/* "No piece to be read crosses from one window into the
		 * next". */
		assert(same_window(b, p->off, p->off + p->len - 1));
}

void batch_validate(const struct batch *b)
{
	uint64_t n_read = 0;

	assert(b->n <= BATCH_PIECES && b->window_bytes);
	for (unsigned i = 0; i < b->n; i++) {
		const struct batch_piece *p = &b->pieces[i];

		batch_piece_validate(b, p);
		assert(i == 0 || p[-1].off + p[-1].len <= p->off);
		n_read += p->reads ? p->len : 0;
	}
	/* Gaps that are read as well do not count. */
	assert(b->data_bytes <= n_read);
}

void batch_clear(struct batch *b, uint64_t window_bytes)
{
	b->window_bytes = window_bytes;
	b->data_bytes = 0;
	b->covered = 0;
	b->n = 0;
	b->n_steps = 0;
}

bool batch_is_full(const struct batch *b, uint64_t pos)
{
	if (b->n == BATCH_PIECES || b->n_steps >= STEPS_MAX)
		return true;
	if (b->n && b->pieces[b->n - 1].reads == 0 &&
	    b->pieces[b->n - 1].len >= b->window_bytes)
		return true;
	return is_aligned(pos, b->window_bytes) &&
	       b->data_bytes >= b->window_bytes / 2;
}

uint64_t batch_room(const struct batch *b, uint64_t pos, unsigned reads)
{
	if (!reads)
		return ZERO_BYTES_MAX;
	return b->window_bytes - pos % b->window_bytes;
}

/* Whether the piece [off, off+len) becomes part of @last. */
static bool joins(const struct batch *b, const struct batch_piece *last,
		  uint64_t len, uint64_t off, unsigned reads)
{
	uint64_t gap = off - (last->off + last->len);

	if (!last->reads || !reads)
		return gap == 0 && last->reads == reads &&
		       last->len + len <= ZERO_BYTES_MAX;
	if (gap > BATCH_GAP_BYTES || !same_window(b, last->off, off))
		return false;
	return last->reads == reads ||
	       min_u64(last->len, len) <= BATCH_GAP_BYTES;
}

void batch_add(struct batch *b, uint64_t len, uint64_t off, unsigned reads)
{
	struct batch_piece *last = b->n ? &b->pieces[b->n - 1] : NULL;
	SCOPED_VALIDATE(batch, b);

	assert(len && !(reads & ~(READ_FIRST | READ_SECOND)));
	assert(b->n < BATCH_PIECES && len <= batch_room(b, off, reads));
	assert(!last || off >= last->off + last->len);
	if (reads)
		b->data_bytes += len;
	if (last && joins(b, last, len, off, reads)) {
		last->len = off + len - last->off;
		last->reads |= reads;
		return;
	}
	b->pieces[b->n++] = (struct batch_piece){ off, len, reads };
}

/* The last byte of a piece: the kernel reads ahead, and would have the
 * first. */
static bool has_to_wait(const struct batch_piece *p, struct disk *d)
{
	uint64_t size = disk_size(d);
	uint64_t last = p->off + p->len - 1;
	uint8_t byte;

	return last < size &&
	       disk_pread(d, &byte, 1, last, QCOW2_NOWAIT, NULL) == -EAGAIN;
}

void batch_wake(const struct batch *b, struct workers *w, struct disk *d,
		unsigned reads)
{
	for (unsigned i = 0; i < b->n && workers_sleep(w); i++) {
		if (!(b->pieces[i].reads & reads))
			continue;
		if (has_to_wait(&b->pieces[i], d))
			workers_wake(w);
		return;
	}
}
