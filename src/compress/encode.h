/*
 * Encoding of compressed clusters, with codec state that is reused.
 *
 * The same input, codec and level give the same bytes whatever encoder is
 * used, so that many threads can share one pool and the output of a job does
 * not depend on their number.  Of the fast levels this is not promised: see
 * fast_encoder.c.
 */
#ifndef COMPRESS_ENCODE_H
#define COMPRESS_ENCODE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "compress/codec.h"

struct encoder;

struct encoder_pool {
	pthread_mutex_t lock; /* a leaf */
	enum codec codec;
	int level;
	struct encoder *idle; /* all of this level */
};

/* With its lock held. */
VALIDATOR(encoder_pool);

enum {
	ENCODE_LEVEL_MAX_ZLIB = 9,
	ENCODE_LEVEL_MAX_ZSTD = 19,
	/* Above this: the fast levels of zlib's format, where they are built
	 * in. */
	ENCODE_LEVEL_FAST = 0x100,
	ENCODE_LEVEL_MAX_FAST = ENCODE_LEVEL_FAST + 3,
};

/* Whether encoders of @codec have @level, which for 0 they always do. */
bool encoder_has_level(enum codec codec, uint32_t level);
/* The same of the codec of @compression, as the header or the caller names it
 * (QCOW2_COMPRESSION_*): -EINVAL, -ENOTSUP. */
int encoder_check_level(uint32_t compression, uint32_t level,
			struct qcow2_error *err);

/* @level: 0 for the codec's usual one (zlib 6, zstd 3). */
void encoder_pool_init(struct encoder_pool *pool, enum codec codec, int level);
void encoder_pool_release(struct encoder_pool *pool);
/* For what is encoded from now on; returns the level until now.
 * Thread-safe. */
int encoder_pool_set_level(struct encoder_pool *pool, int level);

/*
 * Encodes @src_len bytes into at most @dst_len.  Returns 0 and the size in
 * *out, which is 0 when the data does not become smaller than @dst_len; or
 * -ENOMEM.  Thread-safe.
 */
int encoder_pool_encode(struct encoder_pool *pool, void *dst, size_t dst_len,
			const void *src, size_t src_len, size_t *out);

#endif
