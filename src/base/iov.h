/*
 * Walking an I/O vector piece by piece.
 *
 * A cursor stands at a byte of the vector; iov_take() gives the next bytes as
 * a short vector of its own, without copying and without allocating.
 */
#ifndef BASE_IOV_H
#define BASE_IOV_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "base/checked.h"

/* Segments of a vector that a function keeps on its stack; longer ones go in
 * several pieces. */
enum { IOV_COUNT = 64 };

struct iov_cursor {
	const struct iovec *iov;
	int iovcnt;     /* segments left, the current one included */
	size_t seg_off; /* bytes of the current segment already used */
};

/* The caller must have made sure that the sum fits. */
static inline uint64_t iov_len(const struct iovec *iov, int iovcnt)
{
	uint64_t len = 0;

	assert(iovcnt >= 0);
	for (int i = 0; i < iovcnt; i++) {
		bool ok = checked_add(len, iov[i].iov_len, &len);

		assert(ok);
	}
	return len;
}

static inline struct iov_cursor iov_cursor_init(const struct iovec *iov,
						int iovcnt)
{
	return (struct iov_cursor){ iov, iovcnt, 0 };
}

/* It stands in a segment, or behind the last one. */
static inline void iov_cursor_validate(const struct iov_cursor *c)
{
	assert(c->iovcnt >= 0);
	assert(!c->iovcnt || c->iov);
	assert(!c->iovcnt || c->seg_off <= c->iov->iov_len);
}

/* The next contiguous piece, at most @max bytes; advances past it. */
static inline struct iovec iov_next(struct iov_cursor *c, uint64_t max)
{
	struct iovec piece;

	iov_cursor_validate(c);
	while (c->iovcnt && c->seg_off == c->iov->iov_len) {
		c->iov++;
		c->iovcnt--;
		c->seg_off = 0;
	}
	if (!c->iovcnt)
		return (struct iovec){ NULL, 0 };
	piece.iov_base = (char *)c->iov->iov_base + c->seg_off;
	piece.iov_len = c->iov->iov_len - c->seg_off;
	if (piece.iov_len > max)
		piece.iov_len = (size_t)max;
	c->seg_off += piece.iov_len;
	return piece;
}

/*
 * Fills @out (@max segments) with the next at most @len bytes and advances
 * past them.  Returns the bytes covered, less than @len when the segments did
 * not suffice, and the number of segments in *n.
 */
static inline uint64_t iov_take(struct iov_cursor *c, uint64_t len,
				struct iovec *out, int max, int *n)
{
	uint64_t taken = 0;

	for (*n = 0; *n < max && taken < len; (*n)++) {
		out[*n] = iov_next(c, len - taken);
		if (!out[*n].iov_len)
			break;
		taken += out[*n].iov_len;
	}
	return taken;
}

static inline void iov_zero(struct iov_cursor *c, uint64_t len)
{
	while (len) {
		struct iovec piece = iov_next(c, len);

		if (!piece.iov_len)
			return;
		memset(piece.iov_base, 0, piece.iov_len);
		len -= piece.iov_len;
	}
}

/* Both end with the vector, should it be shorter. */
static inline void iov_skip(struct iov_cursor *c, uint64_t len)
{
	while (len) {
		struct iovec piece = iov_next(c, len);

		if (!piece.iov_len)
			return;
		len -= piece.iov_len;
	}
}

static inline void iov_copy_out(struct iov_cursor *c, void *dst, uint64_t len)
{
	char *p = dst;

	while (len) {
		struct iovec piece = iov_next(c, len);

		if (!piece.iov_len)
			return;
		memcpy(p, piece.iov_base, piece.iov_len);
		p += piece.iov_len;
		len -= piece.iov_len;
	}
}

static inline void iov_copy_in(struct iov_cursor *c, const void *src,
			       uint64_t len)
{
	const char *p = src;

	while (len) {
		struct iovec piece = iov_next(c, len);

		if (!piece.iov_len)
			return;
		memcpy(piece.iov_base, p, piece.iov_len);
		p += piece.iov_len;
		len -= piece.iov_len;
	}
}

#endif
