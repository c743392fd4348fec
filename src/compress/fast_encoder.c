/*
 * Raw deflate by ISA-L: several times as fast as zlib's fastest level, for
 * clusters that are a little larger.  As with zlib the window is 4 KiB.
 *
 * The library chooses its code by the processor, and different code may make
 * different bytes of the same cluster.  The same code does so too, about once in
 * 15,000 clusters: its output was seen to differ by a match that was not found,
 * and the cluster read back right each time.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#include "compress/encode.h"
#include "compress/encoder.h"

#ifdef HAVE_ISAL
#include <isa-l/igzip_lib.h>

const bool fast_encoder_exists = true;

enum { WINDOW_BITS = 12 };

struct fast_encoder {
	struct encoder base;
	uint32_t level;
	uint32_t work_len;
	uint8_t *work;
	struct isal_zstream z;
};

static size_t fast_encode(struct encoder *base, void *dst, size_t dst_len,
			  const void *src, size_t src_len)
{
	struct fast_encoder *e = (struct fast_encoder *)base;
	struct isal_zstream *z = &e->z;

	if (dst_len > UINT32_MAX || src_len > UINT32_MAX)
		return 0;
	isal_deflate_stateless_init(z);
	z->gzip_flag = IGZIP_DEFLATE;
	z->end_of_stream = 1;
	z->hist_bits = WINDOW_BITS;
	z->level = e->level;
	z->level_buf = e->work;
	z->level_buf_size = e->work_len;
	z->next_in = (uint8_t *)(uintptr_t)src;
	z->avail_in = (uint32_t)src_len;
	z->next_out = dst;
	z->avail_out = (uint32_t)dst_len;
	if (isal_deflate_stateless(z) != COMP_OK || z->avail_in)
		return 0;
	return dst_len - z->avail_out;
}

static void fast_encoder_free(struct encoder *base)
{
	struct fast_encoder *e = (struct fast_encoder *)base;

	free(e->work);
	free(e);
}

struct encoder *fast_encoder_new(int level)
{
	static const uint32_t work_len[] = {
		[1] = ISAL_DEF_LVL1_DEFAULT,
		[2] = ISAL_DEF_LVL2_DEFAULT,
		[3] = ISAL_DEF_LVL3_DEFAULT,
	};
	struct fast_encoder *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->base.encode = fast_encode;
	e->base.free = fast_encoder_free;
	e->level = (uint32_t)(level - ENCODE_LEVEL_FAST);
	e->work_len = work_len[e->level];
	e->work = calloc(1, e->work_len);
	if (!e->work) {
		free(e);
		return NULL;
	}
	return &e->base;
}

#else

const bool fast_encoder_exists = false;

struct encoder *fast_encoder_new(int level)
{
	(void)level;
	return NULL;
}

#endif
