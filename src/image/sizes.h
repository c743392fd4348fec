/*
 * The lengths of the files of an image.
 */
#ifndef IMAGE_SIZES_H
#define IMAGE_SIZES_H

#include <stdatomic.h>
#include <stdint.h>

/* In bytes. */
struct image_sizes {
	uint64_t file; /* at open */
	uint64_t data; /* of an external data file, likewise */
	const _Atomic uint64_t *file_end; /* how far a writer has got; NULL
				     * without one */
};

/* The highest possible end of the image file: no entry can point beyond it. */
static inline uint64_t image_sizes_file_end(const struct image_sizes *s)
{
	return s->file_end
		       ? atomic_load_explicit(s->file_end, memory_order_relaxed)
		       : s->file;
}

#endif
