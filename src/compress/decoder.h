/*
 * Inside compress/: what a codec implements.
 */
#ifndef COMPRESS_DECODER_H
#define COMPRESS_DECODER_H

#include <stddef.h>

struct decoder {
	struct decoder *next; /* in the pool's idle list */
	int (*decode)(struct decoder *d, void *dst, size_t dst_len,
		      const void *src, size_t src_len);
	void (*free)(struct decoder *d);
};

/* NULL when memory is short. */
struct decoder *deflate_decoder_new(void);
struct decoder *zstd_decoder_new(void);

#endif
