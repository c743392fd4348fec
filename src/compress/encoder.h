/*
 * Inside compress/: what a codec implements for writing.
 */
#ifndef COMPRESS_ENCODER_H
#define COMPRESS_ENCODER_H

#include <stdbool.h>
#include <stddef.h>

struct encoder {
	struct encoder *next; /* in the pool's idle list */
	int level;            /* the pool's when it was made */
	/* Returns the size, 0 when it does not fit. */
	size_t (*encode)(struct encoder *e, void *dst, size_t dst_len,
			 const void *src, size_t src_len);
	void (*free)(struct encoder *e);
};

/* NULL when memory is short. */
struct encoder *deflate_encoder_new(int level);
struct encoder *zstd_encoder_new(int level);
struct encoder *fast_encoder_new(int level);

/* Whether the library was built with the fast one. */
extern const bool fast_encoder_exists;

#endif
