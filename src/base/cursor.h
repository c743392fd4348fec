/*
 * The sticky cursor: the only way to walk bytes of untrusted length.
 *
 * A reader hands out numbers until the window is used up.  Reading past the
 * end returns zero (or NULL), moves nothing and sets `failed`, which stays
 * set; so a decoder reads all its fields and asks once, at the end.  The
 * writer is its twin.
 *
 * Invariant: pos <= end, always; `failed` never goes back to false.
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

struct reader {
	const uint8_t *pos;
	const uint8_t *end;
	bool failed;
};

/* @buf may be NULL with @len 0: nothing to read. */
static inline struct reader reader_init(const void *buf, size_t len)
{
	const uint8_t *p = buf ? buf : "";

	return (struct reader){ .pos = p, .end = p + len };
}

static inline void reader_validate(const struct reader *r)
{
	assert(r->pos && r->pos <= r->end);
}

static inline size_t reader_left(const struct reader *r)
{
	reader_validate(r);
	return (size_t)(r->end - r->pos);
}

/* The next @len bytes, in place, or NULL and the failed state. */
static inline const uint8_t *read_bytes(struct reader *r, size_t len)
{
	const uint8_t *p = r->pos;

	if (r->failed || len > reader_left(r)) {
		r->failed = true;
		return NULL;
	}
	r->pos += len;
	return p;
}

static inline uint8_t read_u8(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 1);

	return p ? *p : 0;
}

static inline uint16_t read_be16(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 2);

	return p ? get_be16(p) : 0;
}

static inline uint32_t read_be32(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 4);

	return p ? get_be32(p) : 0;
}

static inline uint64_t read_be64(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 8);

	return p ? get_be64(p) : 0;
}

struct byte_writer {
	uint8_t *start;
	uint8_t *pos;
	uint8_t *end;
	bool failed;
};

static inline struct byte_writer byte_writer_init(void *buf, size_t len)
{
	uint8_t *p = buf;

	return (struct byte_writer){ .start = p, .pos = p, .end = p + len };
}

static inline void byte_writer_validate(const struct byte_writer *w)
{
	assert(w->start <= w->pos);
	assert(w->pos <= w->end);
}

static inline size_t byte_writer_len(const struct byte_writer *w)
{
	byte_writer_validate(w);
	return (size_t)(w->pos - w->start);
}

static inline uint8_t *write_reserve(struct byte_writer *w, size_t len)
{
	uint8_t *p = w->pos;

	byte_writer_validate(w);
	if (w->failed || len > (size_t)(w->end - w->pos)) {
		w->failed = true;
		return NULL;
	}
	w->pos += len;
	return p;
}

static inline void write_bytes(struct byte_writer *w, const void *src,
			       size_t len)
{
	uint8_t *p = write_reserve(w, len);

	if (p && len)
		memcpy(p, src, len);
}

static inline void write_zeros(struct byte_writer *w, size_t len)
{
	uint8_t *p = write_reserve(w, len);

	if (p && len)
		memset(p, 0, len);
}

static inline void write_u8(struct byte_writer *w, uint8_t v)
{
	write_bytes(w, &v, 1);
}

static inline void write_be16(struct byte_writer *w, uint16_t v)
{
	uint8_t *p = write_reserve(w, 2);

	if (p)
		put_be16(p, v);
}

static inline void write_be32(struct byte_writer *w, uint32_t v)
{
	uint8_t *p = write_reserve(w, 4);

	if (p)
		put_be32(p, v);
}

static inline void write_be64(struct byte_writer *w, uint64_t v)
{
	uint8_t *p = write_reserve(w, 8);

	if (p)
		put_be64(p, v);
}

/* Zero bytes until the written length is a multiple of @align. */
static inline void write_pad(struct byte_writer *w, size_t align)
{
	size_t over = byte_writer_len(w) % align;

	if (over)
		write_zeros(w, align - over);
}

#endif
