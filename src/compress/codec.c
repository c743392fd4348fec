#include "compress/codec.h"

#include <assert.h>
#include <errno.h>

#include "base/cleanup.h"
#include "compress/decoder.h"

void decoder_pool_init(struct decoder_pool *pool, enum codec codec)
{
	pthread_mutex_init(&pool->lock, NULL);
	pool->codec = codec;
	pool->idle = NULL;
}

void decoder_pool_release(struct decoder_pool *pool)
{
	struct decoder *d = pool->idle;

	while (d) {
		struct decoder *next = d->next;

		d->free(d);
		d = next;
	}
	pool->idle = NULL;
	pthread_mutex_destroy(&pool->lock);
}

void decoder_pool_validate(const struct decoder_pool *pool)
{
	assert(pool->codec == CODEC_ZLIB || pool->codec == CODEC_ZSTD);
	for (const struct decoder *d = pool->idle; d; d = d->next) {
		assert(d->decode && d->free);
		assert(d->next != d);
	}
}

static struct decoder *decoder_new(enum codec codec)
{
	switch (codec) {
	case CODEC_ZLIB:
		return deflate_decoder_new();
	case CODEC_ZSTD:
		return zstd_decoder_new();
	}
	assert(!"codec out of range");
	return NULL;
}

static struct decoder *pool_take(struct decoder_pool *pool)
{
	SCOPED_LOCK(&pool->lock);
	SCOPED_VALIDATE(decoder_pool, pool);
	struct decoder *d = pool->idle;

	if (d)
		pool->idle = d->next;
	return d;
}

static void pool_give(struct decoder_pool *pool, struct decoder *d)
{
	SCOPED_LOCK(&pool->lock);
	SCOPED_VALIDATE(decoder_pool, pool);

	d->next = pool->idle;
	pool->idle = d;
}

int decoder_pool_decode(struct decoder_pool *pool, void *dst, size_t dst_len,
			const void *src, size_t src_len)
{
	struct decoder *d = pool_take(pool);
	int rc;

	if (!d)
		d = decoder_new(pool->codec);
	if (!d)
		return -ENOMEM;
	rc = d->decode(d, dst, dst_len, src, src_len);
	assert(rc <= 0);
	pool_give(pool, d);
	return rc;
}
