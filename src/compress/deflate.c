/*
 * Raw deflate (RFC 1951) clusters: libdeflate, and zlib where libdeflate says
 * no.
 *
 * libdeflate is twice as fast but insists on a whole stream.  Images in the
 * field also hold streams that fill the cluster and lack their end, which
 * zlib-based readers have always accepted; so its refusal is not the last
 * word.
 */
#define ZLIB_CONST

#include <errno.h>
#include <libdeflate.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

#include "compress/decoder.h"

struct deflate_decoder {
	struct decoder base;
	struct libdeflate_decompressor *fast;
	z_stream slow;
	bool slow_ready;
};

/* Writers use windows of 4 KiB (12 bits); a reader takes what deflate can
 * express. */
enum { WINDOW_BITS = 15 };

static int slow_prepare(struct deflate_decoder *d)
{
	int rc;

	if (d->slow_ready)
		rc = inflateReset(&d->slow);
	else
		rc = inflateInit2(&d->slow, -WINDOW_BITS);
	d->slow_ready = rc == Z_OK;
	return rc == Z_OK ? 0 : -ENOMEM;
}

static int slow_decode(struct deflate_decoder *d, void *dst, size_t dst_len,
		       const void *src, size_t src_len)
{
	z_stream *z = &d->slow;
	int rc = slow_prepare(d);

	if (rc < 0)
		return rc;
	if (dst_len > UINT_MAX || src_len > UINT_MAX)
		return -EIO;
	z->next_in = src;
	z->avail_in = (uInt)src_len;
	z->next_out = dst;
	z->avail_out = (uInt)dst_len;
	rc = inflate(z, Z_FINISH);
	if (z->avail_out != 0)
		return -EIO;
	/* A full cluster is an answer even if the stream goes on. */
	return rc == Z_STREAM_END || rc == Z_BUF_ERROR ? 0 : -EIO;
}

static int deflate_decode(struct decoder *base, void *dst, size_t dst_len,
			  const void *src, size_t src_len)
{
	struct deflate_decoder *d = (struct deflate_decoder *)base;
	size_t in_used, out_used;
	enum libdeflate_result r;

	r = libdeflate_deflate_decompress_ex(d->fast, src, src_len, dst,
					     dst_len, &in_used, &out_used);
	if (r == LIBDEFLATE_SUCCESS && out_used == dst_len)
		return 0;
	return slow_decode(d, dst, dst_len, src, src_len);
}

static void deflate_free(struct decoder *base)
{
	struct deflate_decoder *d = (struct deflate_decoder *)base;

	if (d->slow_ready)
		inflateEnd(&d->slow);
	libdeflate_free_decompressor(d->fast);
	free(d);
}

struct decoder *deflate_decoder_new(void)
{
	struct deflate_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->base.decode = deflate_decode;
	d->base.free = deflate_free;
	d->fast = libdeflate_alloc_decompressor();
	if (!d->fast) {
		free(d);
		return NULL;
	}
	return &d->base;
}
