/*
 * The work that a worker takes from the walk over a disk at one time: pieces of
 * guest bytes to read, and ranges that only have to become zeros.
 *
 * The disk is cut into aligned windows at least as large as any cluster, and
 * no piece to be read crosses from one window into the next: a worker's buffer
 * is one window, and a compressed cluster is decoded by one worker only.
 * Neighbours become one piece, with small gaps between them: reading a few
 * zeros is cheaper than another system call.  Small pieces far apart share a
 * batch, so that the lock of the walk is taken once for many.
 */
#ifndef OPS_BATCH_H
#define OPS_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/validate.h"
#include "chain/disk.h"
#include "ops/workers.h"

#define BATCH_PIECES 64
#define BUFFER_ALIGN 4096

/* A gap up to this is read rather than jumped over: all disks must read as
 * zeros in shorter gaps between pieces. */
#define BATCH_GAP_BYTES (16 * 1024)

/* Bits of piece.reads. */
#define READ_FIRST 1u
#define READ_SECOND 2u

/* Zeros of this length become holes, unless the caller says otherwise. */
#define SPARSE_BYTES_DEFAULT 4096

struct batch_piece {
	uint64_t off;
	uint64_t len;
	unsigned reads; /* which disks; 0: nothing to read, make it zero */
};

struct batch {
	uint64_t window_bytes;
	uint64_t data_bytes; /* of the pieces to be read */
	uint64_t covered;    /* guest bytes the walk went on, for progress */
	unsigned n;
	unsigned n_steps; /* extents looked at */
	struct batch_piece pieces[BATCH_PIECES];
};

/* A batch belongs to one worker. */
VALIDATOR(batch);

/* The window that suits @d: at least its largest cluster. */
uint64_t batch_window_bytes(struct disk *d);

void batch_clear(struct batch *b, uint64_t window_bytes);

/* True when the worker has enough; asked with the walk at @pos. */
bool batch_is_full(const struct batch *b, uint64_t pos);

/* The bytes from @pos on that one piece with @reads may have. */
uint64_t batch_room(const struct batch *b, uint64_t pos, unsigned reads);

/* Appends a piece of at most batch_room() bytes behind all that are there;
 * the batch is not full. */
void batch_add(struct batch *b, uint64_t len, uint64_t off, unsigned reads);

/*
 * Before the batch is read from @d, which has its pieces with @reads: wakes a
 * worker when that has to wait, as for a cold page cache or O_DIRECT.
 */
void batch_wake(const struct batch *b, struct workers *w, struct disk *d,
		unsigned reads);

#endif
