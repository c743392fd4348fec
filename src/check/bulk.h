/*
 * Reading tables in ascending order, in large pieces, without reading holes.
 */
#ifndef CHECK_BULK_H
#define CHECK_BULK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "check/budget.h"

/* A piece fits into the processor's cache twice over, is long enough that the
 * call that fetches it does not show, and holds the longest entry of a table of
 * snapshots.  A cluster may be longer. */
#define BULK_BYTES (UINT64_C(192) << 10)

/*
 * A window on the file.  Later requests are served from memory while the window
 * covers them.
 */
struct bulk {
	struct qcow2_store *file;
	struct budget *budget;
	uint8_t *buf;
	size_t capacity;
	uint64_t buf_off; /* the window: [buf_off, buf_off + buf_len) */
	size_t buf_len;
	uint64_t hole_off; /* a known hole: [hole_off, hole_end) */
	uint64_t hole_end;
	bool ask_first; /* the last piece was in a hole: so may the next */
};

/* It belongs to one thread. */
VALIDATOR(bulk);

/* @piece_max: the longest piece that will be asked for. */
int bulk_init(struct bulk *b, struct qcow2_store *file, struct budget *budget,
	      size_t piece_max, struct qcow2_error *err);
void bulk_release(struct bulk *b);

/*
 * Points *out to @len bytes of the file at @off, valid until the next call;
 * to NULL where they lie in a known hole and so are zero.  @ahead: bytes from
 * @off on, at least @len, that the caller will ask for next and that may be
 * fetched together.  Bytes past the end of the file are zero.
 */
int bulk_read(struct bulk *b, size_t len, uint64_t ahead, uint64_t off,
	      const uint8_t **out, struct qcow2_error *err);

/*
 * The caller found the piece at @off empty: ask the store whether it lies in a
 * hole.  Asking only then keeps the usual image, which has no empty tables,
 * free of the question.
 */
void bulk_found_empty(struct bulk *b, uint64_t off);

#endif
