/*
 * Encoders: their output can be read back, and depends on nothing but the
 * input.
 */
#include "compress/encode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "compress/codec.h"
#include "support/test.h"

enum { CLUSTER = 65536, CLUSTERS = 24, THREADS = 4 };

static void make_plain(uint8_t *plain, struct test_rng *rng)
{
	size_t random = test_rng_below(rng, CLUSTER / 2);

	test_rng_fill(rng, plain, random);
	memset(plain + random, (int)test_rng_below(rng, 256), CLUSTER - random);
}

static void round_trip(enum codec codec, int level, const uint8_t *plain)
{
	struct encoder_pool encoders;
	struct decoder_pool decoders;
	uint8_t *packed = guard_alloc(CLUSTER - 1);
	uint8_t *out = guard_alloc(CLUSTER);
	size_t n;

	encoder_pool_init(&encoders, codec, level);
	decoder_pool_init(&decoders, codec);
	assert_int_equal(encoder_pool_encode(&encoders, packed, CLUSTER - 1,
					     plain, CLUSTER, &n),
			 0);
	assert_in_range(n, 1, CLUSTER - 1);
	assert_int_equal(
		decoder_pool_decode(&decoders, out, CLUSTER, packed, n), 0);
	assert_memory_equal(out, plain, CLUSTER);
	decoder_pool_release(&decoders);
	encoder_pool_release(&encoders);
	guard_free(out, CLUSTER);
	guard_free(packed, CLUSTER - 1);
}

TEST(every_level_is_read_back)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);

	for (int level = 0; level <= 9; level++) {
		make_plain(plain, &rng);
		round_trip(CODEC_ZLIB, level, plain);
		round_trip(CODEC_ZSTD, level, plain);
	}
	free(plain);
}

static bool has_fast(void)
{
	return encoder_has_level(CODEC_ZLIB, ENCODE_LEVEL_FAST + 1);
}

/* A reader that remembers 4 KiB and refuses a reference further back. */
static void read_narrowly(const uint8_t *packed, size_t n, const uint8_t *plain)
{
	uint8_t out[32];
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)packed,
		       .avail_in = (uInt)n };
	int rc = Z_OK;

	assert_int_equal(inflateInit2(&z, -12), Z_OK);
	for (size_t at = 0; rc == Z_OK; at += sizeof(out)) {
		z.next_out = out;
		z.avail_out = sizeof(out);
		rc = inflate(&z, Z_SYNC_FLUSH);
		assert_true(rc == Z_OK || rc == Z_STREAM_END);
		assert_memory_equal(out, plain + at, sizeof(out) - z.avail_out);
	}
	assert_int_equal(z.total_out, CLUSTER);
	inflateEnd(&z);
}

/* Repeats itself at all distances. */
static void make_echoes(uint8_t *plain, struct test_rng *rng)
{
	test_rng_fill(rng, plain, 9000);
	for (size_t at = 9000; at < CLUSTER;) {
		size_t len = 4 + test_rng_below(rng, 60);
		size_t back = 1 + test_rng_below(rng, 9000);

		for (; len && at < CLUSTER; len--, at++)
			plain[at] = plain[at - back];
	}
}

TEST(no_deflate_level_looks_back_further_than_4_kib)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);
	uint8_t *packed = malloc(CLUSTER);

	for (int level = 0; level <= ENCODE_LEVEL_MAX_FAST; level++) {
		struct encoder_pool pool;
		size_t n;

		if (!encoder_has_level(CODEC_ZLIB, (uint32_t)level))
			continue;
		encoder_pool_init(&pool, CODEC_ZLIB, level);
		make_echoes(plain, &rng);
		assert_int_equal(encoder_pool_encode(&pool, packed, CLUSTER - 1,
						     plain, CLUSTER, &n),
				 0);
		assert_in_range(n, 1, CLUSTER - 1);
		read_narrowly(packed, n, plain);
		encoder_pool_release(&pool);
	}
	free(packed);
	free(plain);
}

TEST_SLOW(fast_levels_are_read_back)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);

	if (!has_fast())
		skip();
	for (int i = 0; i < 300; i++) {
		make_plain(plain, &rng);
		round_trip(CODEC_ZLIB, ENCODE_LEVEL_FAST + 1 + i % 3, plain);
	}
	free(plain);
}

TEST(levels_that_are_not_there_are_known)
{
	assert_true(encoder_has_level(CODEC_ZLIB, 0));
	assert_true(encoder_has_level(CODEC_ZLIB, 9));
	assert_false(encoder_has_level(CODEC_ZLIB, 10));
	assert_false(encoder_has_level(CODEC_ZLIB, ENCODE_LEVEL_FAST));
	assert_false(encoder_has_level(CODEC_ZLIB, ENCODE_LEVEL_FAST + 4));
	assert_true(encoder_has_level(CODEC_ZSTD, 19));
	assert_false(encoder_has_level(CODEC_ZSTD, 20));
	assert_false(encoder_has_level(CODEC_ZSTD, ENCODE_LEVEL_FAST + 1));
}

TEST(what_does_not_shrink_says_so)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);
	uint8_t *packed = guard_alloc(CLUSTER - 1);

	test_rng_fill(&rng, plain, CLUSTER);
	for (enum codec codec = CODEC_ZLIB; codec <= CODEC_ZSTD; codec++) {
		struct encoder_pool pool;
		size_t n = 1;

		encoder_pool_init(&pool, codec, 0);
		assert_int_equal(encoder_pool_encode(&pool, packed, CLUSTER - 1,
						     plain, CLUSTER, &n),
				 0);
		assert_int_equal(n, 0);
		encoder_pool_release(&pool);
	}
	guard_free(packed, CLUSTER - 1);
	free(plain);
}

struct job {
	struct encoder_pool *pool;
	const uint8_t *plain;
	uint8_t *packed;
	size_t n[CLUSTERS];
};

static void *encode_all(void *arg)
{
	struct job *j = arg;

	for (size_t i = 0; i < CLUSTERS; i++)
		assert_int_equal(
			encoder_pool_encode(j->pool, j->packed + i * CLUSTER,
					    CLUSTER - 1, j->plain + i * CLUSTER,
					    CLUSTER, &j->n[i]),
			0);
	return NULL;
}

static void make_by_threads(int level)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTERS * CLUSTER);
	struct encoder_pool pool;
	pthread_t threads[THREADS];
	struct job jobs[THREADS];

	encoder_pool_init(&pool, CODEC_ZLIB, level);
	for (size_t i = 0; i < CLUSTERS; i++)
		make_plain(plain + i * CLUSTER, &rng);
	for (int t = 0; t < THREADS; t++) {
		jobs[t] = (struct job){ .pool = &pool, .plain = plain };
		jobs[t].packed = calloc(CLUSTERS, CLUSTER);
		assert_int_equal(
			pthread_create(&threads[t], NULL, encode_all, &jobs[t]),
			0);
	}
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int t = 1; t < THREADS; t++)
		for (size_t i = 0; i < CLUSTERS; i++) {
			assert_int_equal(jobs[t].n[i], jobs[0].n[i]);
			assert_memory_equal(jobs[t].packed + i * CLUSTER,
					    jobs[0].packed + i * CLUSTER,
					    jobs[0].n[i]);
		}
	for (int t = 0; t < THREADS; t++)
		free(jobs[t].packed);
	encoder_pool_release(&pool);
	free(plain);
}

/* Neither the past of an encoder nor the users of the pool change the
 * output. */
TEST_SLOW(threads_make_the_same_bytes)
{
	for (int level = 0; level <= ENCODE_LEVEL_MAX_FAST; level++)
		if (level % 3 == 0 &&
		    encoder_has_level(CODEC_ZLIB, (uint32_t)level))
			make_by_threads(level);
}

static size_t encode_one(struct encoder_pool *pool, const uint8_t *plain,
			 uint8_t *packed)
{
	size_t n;

	assert_int_equal(encoder_pool_encode(pool, packed, CLUSTER - 1, plain,
					     CLUSTER, &n),
			 0);
	return n;
}

TEST(another_level_holds_for_what_comes_after)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);
	uint8_t *packed = malloc(CLUSTER);
	uint8_t *expected = malloc(CLUSTER);

	make_echoes(plain, &rng);
	for (enum codec codec = CODEC_ZLIB; codec <= CODEC_ZSTD; codec++) {
		struct encoder_pool pool, fresh;
		size_t n;

		encoder_pool_init(&pool, codec, 1);
		encoder_pool_init(&fresh, codec, 9);
		encode_one(&pool, plain, packed);
		assert_int_equal(encoder_pool_set_level(&pool, 9), 1);
		assert_null(pool.idle);
		n = encode_one(&pool, plain, packed);
		assert_int_equal(n, encode_one(&fresh, plain, expected));
		assert_memory_equal(packed, expected, n);
		/* What can be used again stays. */
		assert_int_equal(encoder_pool_set_level(&pool, 9), 9);
		assert_non_null(pool.idle);
		encoder_pool_release(&fresh);
		encoder_pool_release(&pool);
	}
	free(expected);
	free(packed);
	free(plain);
}

/* The pool asserts that its encoders are of its level. */
TEST(the_level_changes_while_threads_encode)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = calloc(CLUSTERS, CLUSTER);
	struct encoder_pool pool;
	struct decoder_pool decoders;
	pthread_t threads[THREADS];
	struct job jobs[THREADS];
	uint8_t *out = malloc(CLUSTER);

	encoder_pool_init(&pool, CODEC_ZLIB, 1);
	decoder_pool_init(&decoders, CODEC_ZLIB);
	for (size_t i = 0; i < CLUSTERS; i++)
		test_rng_fill(&rng, plain + i * CLUSTER, CLUSTER / 8);
	for (int t = 0; t < THREADS; t++) {
		jobs[t] = (struct job){ .pool = &pool, .plain = plain };
		jobs[t].packed = calloc(CLUSTERS, CLUSTER);
		assert_int_equal(
			pthread_create(&threads[t], NULL, encode_all, &jobs[t]),
			0);
	}
	for (int i = 0; i < 300; i++)
		encoder_pool_set_level(&pool, i % 9 + 1);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	encoder_pool_validate(&pool);
	for (int t = 0; t < THREADS; t++) {
		for (size_t i = 0; i < CLUSTERS; i++) {
			assert_int_equal(decoder_pool_decode(
						 &decoders, out, CLUSTER,
						 jobs[t].packed + i * CLUSTER,
						 jobs[t].n[i]),
					 0);
			assert_memory_equal(out, plain + i * CLUSTER, CLUSTER);
		}
		free(jobs[t].packed);
	}
	decoder_pool_release(&decoders);
	encoder_pool_release(&pool);
	free(plain);
	free(out);
}

TEST(a_pool_that_is_not_one_is_noticed)
{
	struct encoder_pool pool;

	encoder_pool_init(&pool, CODEC_ZLIB, 6);
	encoder_pool_validate(&pool);
	ASSERT_ABORTS(pool.codec = (enum codec)2; encoder_pool_validate(&pool));
	encoder_pool_release(&pool);
}
