#include "compress/encode.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "compress/encoder.h"

void encoder_pool_init(struct encoder_pool *pool, enum codec codec, int level)
{
	pthread_mutex_init(&pool->lock, NULL);
	pool->codec = codec;
	pool->level = level;
	pool->idle = NULL;
}

static void encode_free_list(struct encoder *e)
{
	while (e) {
		struct encoder *next = e->next;

		e->free(e);
		e = next;
	}
}

void encoder_pool_release(struct encoder_pool *pool)
{
	encode_free_list(pool->idle);
	pool->idle = NULL;
	pthread_mutex_destroy(&pool->lock);
}

void encoder_pool_validate(const struct encoder_pool *pool)
{
	assert(pool->codec == CODEC_ZLIB || pool->codec == CODEC_ZSTD);
	assert(pool->level >= 0);
	for (const struct encoder *e = pool->idle; e; e = e->next) {
		assert(e->encode && e->free);
		assert(e->level == pool->level);
		assert(e->next != e);
	}
}

/* *level is that of the encoder, or of the one to be made. */
static struct encoder *encode_take(struct encoder_pool *pool, int *level)
{
	SCOPED_LOCK(&pool->lock);
	SCOPED_VALIDATE(encoder_pool, pool);
	struct encoder *e = pool->idle;

	*level = pool->level;
	if (e)
		pool->idle = e->next;
	return e;
}

/* Returns false for an encoder of another level, which nobody needs. */
static bool give(struct encoder_pool *pool, struct encoder *e)
{
	SCOPED_LOCK(&pool->lock);
	SCOPED_VALIDATE(encoder_pool, pool);

	if (e->level != pool->level)
		return false;
	e->next = pool->idle;
	pool->idle = e;
	return true;
}

/* Returns the encoders that are of no use any more. */
static struct encoder *encode_change(struct encoder_pool *pool, int level,
				     int *old)
{
	SCOPED_LOCK(&pool->lock);
	SCOPED_VALIDATE(encoder_pool, pool);
	struct encoder *useless = NULL;

	*old = pool->level;
	if (level != pool->level) {
		useless = pool->idle;
		pool->idle = NULL;
	}
	pool->level = level;
	return useless;
}

int encoder_pool_set_level(struct encoder_pool *pool, int level)
{
	int old;

	encode_free_list(encode_change(pool, level, &old));
	return old;
}

bool encoder_has_level(enum codec codec, uint32_t level)
{
	if (codec == CODEC_ZSTD)
		return level <= ENCODE_LEVEL_MAX_ZSTD;
	return level <= ENCODE_LEVEL_MAX_ZLIB ||
	       (fast_encoder_exists && level > ENCODE_LEVEL_FAST &&
		level <= ENCODE_LEVEL_MAX_FAST);
}

int encoder_check_level(uint32_t compression, uint32_t level,
			struct qcow2_error *err)
{
	bool zstd = compression == CODEC_ZSTD;

	if (encoder_has_level(zstd ? CODEC_ZSTD : CODEC_ZLIB, level))
		return 0;
	if (level > ENCODE_LEVEL_FAST && level <= ENCODE_LEVEL_MAX_FAST)
		return error_set(err, -ENOTSUP,
				 zstd ? "the fast levels are for zlib: with "
					"zstd, level 1 is fast"
				      : "this library was built without "
					"ISA-L, which has the fast levels");
	return error_set(err, -EINVAL,
			 "compression level %" PRIu32 ": %s has 1 to %d", level,
			 zstd ? "zstd" : "zlib",
			 zstd ? ENCODE_LEVEL_MAX_ZSTD : ENCODE_LEVEL_MAX_ZLIB);
}

static struct encoder *encoder_new(enum codec codec, int level)
{
	switch (codec) {
	case CODEC_ZLIB:
		return level > ENCODE_LEVEL_FAST ? fast_encoder_new(level)
						 : deflate_encoder_new(level);
	case CODEC_ZSTD:
		return zstd_encoder_new(level);
	}
	assert(!"codec out of range");
	return NULL;
}

int encoder_pool_encode(struct encoder_pool *pool, void *dst, size_t dst_len,
			const void *src, size_t src_len, size_t *out)
{
	int level;
	struct encoder *e = encode_take(pool, &level);

	if (!e)
		e = encoder_new(pool->codec, level);
	if (!e)
		return -ENOMEM;
	e->level = level;
	*out = e->encode(e, dst, dst_len, src, src_len);
	assert(*out <= dst_len);
	if (!give(pool, e))
		e->free(e);
	return 0;
}
