/*
 * Decoding of compressed clusters.
 *
 * A decoder owns reusable codec state (contexts are expensive to make) and is
 * used by one thread at a time; a pool hands decoders to threads that need one.
 * The output is always exactly one cluster: data that ends early, or would go
 * on after the cluster is full and cannot be a whole stream, is an error.
 */
#ifndef COMPRESS_CODEC_H
#define COMPRESS_CODEC_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/validate.h"

/* Values of the header's compression type. */
enum codec {
	CODEC_ZLIB = 0,
	CODEC_ZSTD = 1,
};

struct decoder;

struct decoder_pool {
	pthread_mutex_t lock;
	enum codec codec;
	struct decoder *idle;
};

/* With its lock held. */
VALIDATOR(decoder_pool);

void decoder_pool_init(struct decoder_pool *pool, enum codec codec);
void decoder_pool_release(struct decoder_pool *pool);

/*
 * Decodes one cluster of @dst_len bytes from @src, whose last bytes (less than
 * a sector) may be padding.  Returns 0, -EIO when the data does not decode, or
 * -ENOMEM.  Thread-safe.  Memory is bounded whatever the data claims: zstd
 * frames with windows larger than the largest cluster are refused.
 */
int decoder_pool_decode(struct decoder_pool *pool, void *dst, size_t dst_len,
			const void *src, size_t src_len);

#endif
