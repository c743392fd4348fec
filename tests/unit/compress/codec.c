/*
 * Decoders: they accept some streams, refuse others, and are reused.
 */
#include "compress/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "compress/decoder.h"
#include "support/test.h"

enum { CLUSTER = 65536 };

struct packed {
	uint8_t *bytes;
	size_t len;
};

static void make_plain(uint8_t *plain, uint64_t seed)
{
	struct test_rng rng = test_rng_init(seed);

	test_rng_fill(&rng, plain, CLUSTER / 8);
	for (size_t i = CLUSTER / 8; i < CLUSTER; i++)
		plain[i] = plain[i % (CLUSTER / 8)] ^ (uint8_t)(i >> 13);
}

/* @finish false leaves the end of the stream out. */
static struct packed pack_deflate(const uint8_t *plain, size_t len,
				  int window_bits, int level, bool finish)
{
	struct packed p = { malloc(2 * CLUSTER), 0 };
	z_stream z = { 0 };

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, window_bits, 9,
				      Z_DEFAULT_STRATEGY),
			 Z_OK);
	z.next_in = (Bytef *)(uintptr_t)plain;
	z.avail_in = (uInt)len;
	z.next_out = p.bytes;
	z.avail_out = 2 * CLUSTER;
	deflate(&z, finish ? Z_FINISH : Z_SYNC_FLUSH);
	p.len = 2 * CLUSTER - z.avail_out;
	deflateEnd(&z);
	return p;
}

static struct packed pack_zstd(const uint8_t *plain, size_t len, int level)
{
	struct packed p = { malloc(2 * CLUSTER), 0 };

	p.len = ZSTD_compress(p.bytes, 2 * CLUSTER, plain, len, level);
	assert_false(ZSTD_isError(p.len));
	return p;
}

static int decode(enum codec codec, struct packed p, uint8_t *out)
{
	struct decoder_pool pool;
	int rc;

	decoder_pool_init(&pool, codec);
	rc = decoder_pool_decode(&pool, out, CLUSTER, p.bytes, p.len);
	decoder_pool_release(&pool);
	return rc;
}

static void expect(enum codec codec, struct packed p, const uint8_t *plain,
		   int want)
{
	uint8_t *out = guard_alloc(CLUSTER);

	assert_int_equal(decode(codec, p, out), want);
	if (want == 0)
		assert_memory_equal(out, plain, CLUSTER);
	guard_free(out, CLUSTER);
	free(p.bytes);
}

TEST(accepts_every_window_and_level_of_deflate)
{
	uint8_t *plain = malloc(CLUSTER);

	make_plain(plain, 1);
	for (int bits = 9; bits <= 15; bits++)
		for (int level = 0; level <= 9; level += 3)
			expect(CODEC_ZLIB,
			       pack_deflate(plain, CLUSTER, -bits, level, true),
			       plain, 0);
	free(plain);
}

/* Some writers leave the final block out; a full cluster is all we need. */
TEST(accepts_deflate_that_fills_the_cluster_without_ending)
{
	uint8_t *plain = malloc(CLUSTER);

	make_plain(plain, 2);
	expect(CODEC_ZLIB, pack_deflate(plain, CLUSTER, -12, 6, false), plain,
	       0);
	free(plain);
}

TEST(ignores_sector_padding)
{
	uint8_t *plain = malloc(CLUSTER);
	struct packed p;

	make_plain(plain, 3);
	p = pack_deflate(plain, CLUSTER, -12, 6, true);
	memset(p.bytes + p.len, 0xa5, 511);
	p.len += 511;
	expect(CODEC_ZLIB, p, plain, 0);
	p = pack_zstd(plain, CLUSTER, 3);
	memset(p.bytes + p.len, 0xa5, 511);
	p.len += 511;
	expect(CODEC_ZSTD, p, plain, 0);
	free(plain);
}

TEST(refuses_data_shorter_than_a_cluster)
{
	uint8_t *plain = malloc(CLUSTER);

	make_plain(plain, 4);
	expect(CODEC_ZLIB, pack_deflate(plain, CLUSTER - 1, -12, 6, true), NULL,
	       -EIO);
	expect(CODEC_ZSTD, pack_zstd(plain, CLUSTER - 1, 3), NULL, -EIO);
	free(plain);
}

TEST(refuses_a_zstd_frame_longer_than_a_cluster)
{
	uint8_t *plain = calloc(1, CLUSTER + 512);

	make_plain(plain, 5);
	expect(CODEC_ZSTD, pack_zstd(plain, CLUSTER + 512, 3), NULL, -EIO);
	free(plain);
}

TEST(refuses_zlib_headers_and_garbage)
{
	uint8_t *plain = malloc(CLUSTER);
	struct packed p;

	make_plain(plain, 6);
	expect(CODEC_ZLIB, pack_deflate(plain, CLUSTER, 15, 6, true), NULL,
	       -EIO);
	p = (struct packed){ malloc(CLUSTER), CLUSTER };
	memset(p.bytes, 0xff, CLUSTER);
	expect(CODEC_ZSTD, p, NULL, -EIO);
	free(plain);
}

TEST(accepts_several_zstd_frames)
{
	uint8_t *plain = malloc(CLUSTER);
	struct packed a, b;

	make_plain(plain, 7);
	a = pack_zstd(plain, CLUSTER / 2, 3);
	b = pack_zstd(plain + CLUSTER / 2, CLUSTER / 2, 3);
	memcpy(a.bytes + a.len, b.bytes, b.len);
	a.len += b.len;
	free(b.bytes);
	expect(CODEC_ZSTD, a, plain, 0);
	free(plain);
}

/* A frame may ask the decoder for gigabytes; the cap is the largest cluster. */
TEST(refuses_huge_zstd_windows)
{
	uint8_t *plain = malloc(CLUSTER);
	struct packed p = { malloc(2 * CLUSTER), 0 };
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	ZSTD_inBuffer in = { plain, CLUSTER, 0 };
	ZSTD_outBuffer out = { p.bytes, 2 * CLUSTER, 0 };

	make_plain(plain, 8);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, 27);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, 0);
	/* Streaming with no known size keeps the window as asked. */
	ZSTD_compressStream2(ctx, &out, &in, ZSTD_e_continue);
	ZSTD_compressStream2(ctx, &out, &in, ZSTD_e_end);
	ZSTD_freeCCtx(ctx);
	p.len = out.pos;
	expect(CODEC_ZSTD, p, NULL, -EIO);
	free(plain);
}

/* The decoder may make anything of damage, but it must stay inside its
 * buffers. */
TEST_SLOW(survives_flipped_bits)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);
	uint8_t *out = guard_alloc(CLUSTER);

	make_plain(plain, 9);
	for (int i = 0; i < 400; i++) {
		enum codec codec = i % 2 ? CODEC_ZSTD : CODEC_ZLIB;
		struct packed p =
			codec == CODEC_ZSTD
				? pack_zstd(plain, CLUSTER, 3)
				: pack_deflate(plain, CLUSTER, -12, 6, true);
		uint8_t *src = guard_alloc(p.len);
		struct packed bad = { src, p.len };
		int rc;

		memcpy(src, p.bytes, p.len);
		src[test_rng_below(&rng, p.len)] ^=
			(uint8_t)(1u << test_rng_below(&rng, 8));
		rc = decode(codec, bad, out);
		assert_true(rc == 0 || rc == -EIO);
		guard_free(src, p.len);
		free(p.bytes);
	}
	guard_free(out, CLUSTER);
	free(plain);
}

TEST(a_pool_reuses_its_decoders)
{
	struct decoder_pool pool;
	uint8_t *plain = malloc(CLUSTER);
	uint8_t *out = malloc(CLUSTER);
	struct packed p;
	struct decoder *first;

	make_plain(plain, 10);
	p = pack_deflate(plain, CLUSTER, -12, 6, true);
	decoder_pool_init(&pool, CODEC_ZLIB);
	assert_int_equal(
		decoder_pool_decode(&pool, out, CLUSTER, p.bytes, p.len), 0);
	first = pool.idle;
	assert_non_null(first);
	assert_int_equal(
		decoder_pool_decode(&pool, out, CLUSTER, p.bytes, p.len), 0);
	assert_ptr_equal(pool.idle, first);
	assert_null(first->next);
	decoder_pool_release(&pool);
	free(p.bytes);
	free(plain);
	free(out);
}

TEST(a_pool_that_is_not_one_is_noticed)
{
	struct decoder_pool pool;

	decoder_pool_init(&pool, CODEC_ZLIB);
	decoder_pool_validate(&pool);
	ASSERT_ABORTS(pool.codec = (enum codec)2; decoder_pool_validate(&pool));
	decoder_pool_release(&pool);
}
