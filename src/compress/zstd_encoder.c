/*
 * One zstd frame per cluster.
 */
#include <stdlib.h>
#include <zstd.h>

#include "compress/encoder.h"

enum { LEVEL_DEFAULT = 3 };

struct zstd_encoder {
	struct encoder base;
	ZSTD_CCtx *ctx;
};

static size_t zstd_encode(struct encoder *base, void *dst, size_t dst_len,
			  const void *src, size_t src_len)
{
	struct zstd_encoder *e = (struct zstd_encoder *)base;
	size_t n = ZSTD_compress2(e->ctx, dst, dst_len, src, src_len);

	return ZSTD_isError(n) ? 0 : n;
}

static void zstd_encoder_free(struct encoder *base)
{
	struct zstd_encoder *e = (struct zstd_encoder *)base;

	ZSTD_freeCCtx(e->ctx);
	free(e);
}

struct encoder *zstd_encoder_new(int level)
{
	struct zstd_encoder *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->base.encode = zstd_encode;
	e->base.free = zstd_encoder_free;
	e->ctx = ZSTD_createCCtx();
	if (!e->ctx) {
		free(e);
		return NULL;
	}
	ZSTD_CCtx_setParameter(e->ctx, ZSTD_c_compressionLevel,
			       level ? level : LEVEL_DEFAULT);
	return &e->base;
}
