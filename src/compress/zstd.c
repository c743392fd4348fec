/*
 * zstd (RFC 8878) clusters, with one context per decoder.
 *
 * The data is one or more frames; after them may come the padding of the last
 * sector, which is why the streaming interface is used: it stops when the
 * cluster is full and never looks at what follows.
 */
#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "compress/decoder.h"

/* A window never needs to exceed the largest cluster (2^21); one bit more
 * allows for encoders that round up. */
enum { WINDOW_LOG_MAX = 22 };

struct zstd_decoder {
	struct decoder base;
	ZSTD_DCtx *ctx;
};

static int zstd_decode(struct decoder *base, void *dst, size_t dst_len,
		       const void *src, size_t src_len)
{
	struct zstd_decoder *d = (struct zstd_decoder *)base;
	ZSTD_inBuffer in = { src, src_len, 0 };
	ZSTD_outBuffer out = { dst, dst_len, 0 };

	size_t rc = 0;

	ZSTD_DCtx_reset(d->ctx, ZSTD_reset_session_only);
	while (out.pos < out.size) {
		size_t in_before = in.pos, out_before = out.pos;

		rc = ZSTD_decompressStream(d->ctx, &out, &in);

		if (ZSTD_isError(rc))
			return -EIO;
		if (in.pos == in_before && out.pos == out_before)
			return -EIO;
	}
	/* Not 0: the frame holds more than a cluster. */
	return rc == 0 ? 0 : -EIO;
}

static void zstd_free(struct decoder *base)
{
	struct zstd_decoder *d = (struct zstd_decoder *)base;

	ZSTD_freeDCtx(d->ctx);
	free(d);
}

struct decoder *zstd_decoder_new(void)
{
	struct zstd_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->base.decode = zstd_decode;
	d->base.free = zstd_free;
	d->ctx = ZSTD_createDCtx();
	if (!d->ctx) {
		free(d);
		return NULL;
	}
	ZSTD_DCtx_setParameter(d->ctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	return &d->base;
}
