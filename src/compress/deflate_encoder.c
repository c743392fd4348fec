/*
 * Raw deflate with a 4 KiB window: readers in the field may assume no more.
 */
#define ZLIB_CONST

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "compress/encoder.h"

enum {
	WINDOW_BITS = 12,
	MEMORY_LEVEL = 9,
	LEVEL_DEFAULT = 6,
};

struct deflate_encoder {
	struct encoder base;
	z_stream z;
};

static size_t deflate_encode(struct encoder *base, void *dst, size_t dst_len,
			     const void *src, size_t src_len)
{
	struct deflate_encoder *e = (struct deflate_encoder *)base;
	z_stream *z = &e->z;

	if (dst_len > UINT_MAX || src_len > UINT_MAX || deflateReset(z) != Z_OK)
		return 0;
	z->next_in = src;
	z->avail_in = (uInt)src_len;
	z->next_out = dst;
	z->avail_out = (uInt)dst_len;
	if (deflate(z, Z_FINISH) != Z_STREAM_END)
		return 0;
	return dst_len - z->avail_out;
}

static void deflate_encoder_free(struct encoder *base)
{
	struct deflate_encoder *e = (struct deflate_encoder *)base;

	deflateEnd(&e->z);
	free(e);
}

struct encoder *deflate_encoder_new(int level)
{
	struct deflate_encoder *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->base.encode = deflate_encode;
	e->base.free = deflate_encoder_free;
	if (deflateInit2(&e->z, level ? level : LEVEL_DEFAULT, Z_DEFLATED,
			 -WINDOW_BITS, MEMORY_LEVEL,
			 Z_DEFAULT_STRATEGY) != Z_OK) {
		free(e);
		return NULL;
	}
	return &e->base;
}
