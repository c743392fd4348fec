/*
 * Encoders: what they make is read back, and depends on nothing but the input.
 */
#include "compress/encode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "compress/codec.h"
#include "support/test.h"

enum { CLUSTER = 65536, CLUSTERS = 24, THREADS = 4 };

static void make_plain(uint8_t *plain, struct test_rng *rng)
{
	size_t random = test_rng_below(rng, CLUSTER / 2);

	test_rng_fill(rng, plain, random);
	memset(plain + random, (int)test_rng_below(rng, 256),
	       CLUSTER - random);
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
	assert_int_equal(decoder_pool_decode(&decoders, out, CLUSTER, packed,
					     n),
			 0);
	assert_memory_equal(out, plain, CLUSTER);
	decoder_pool_release(&decoders);
	encoder_pool_release(&encoders);
	guard_free(out, CLUSTER);
	guard_free(packed, CLUSTER - 1);
}

static void every_level_is_read_back(void **state)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);

	(void)state;
	for (int level = 0; level <= 9; level++) {
		make_plain(plain, &rng);
		round_trip(CODEC_ZLIB, level, plain);
		round_trip(CODEC_ZSTD, level, plain);
	}
	free(plain);
}

static void what_does_not_shrink_says_so(void **state)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTER);
	uint8_t *packed = guard_alloc(CLUSTER - 1);

	(void)state;
	test_rng_fill(&rng, plain, CLUSTER);
	for (enum codec codec = CODEC_ZLIB; codec <= CODEC_ZSTD; codec++) {
		struct encoder_pool pool;
		size_t n = 1;

		encoder_pool_init(&pool, codec, 0);
		assert_int_equal(encoder_pool_encode(&pool, packed,
						     CLUSTER - 1, plain,
						     CLUSTER, &n),
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
		assert_int_equal(encoder_pool_encode(
					 j->pool, j->packed + i * CLUSTER,
					 CLUSTER - 1, j->plain + i * CLUSTER,
					 CLUSTER, &j->n[i]),
				 0);
	return NULL;
}

/* Whatever an encoder has done before, and whoever shares the pool. */
static void threads_make_the_same_bytes(void **state)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = malloc(CLUSTERS * CLUSTER);
	struct encoder_pool pool;
	pthread_t threads[THREADS];
	struct job jobs[THREADS];

	(void)state;
	encoder_pool_init(&pool, CODEC_ZLIB, 0);
	for (size_t i = 0; i < CLUSTERS; i++)
		make_plain(plain + i * CLUSTER, &rng);
	for (int t = 0; t < THREADS; t++) {
		jobs[t] = (struct job){ .pool = &pool, .plain = plain };
		jobs[t].packed = calloc(CLUSTERS, CLUSTER);
		assert_int_equal(pthread_create(&threads[t], NULL, encode_all,
						&jobs[t]),
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_level_is_read_back),
		cmocka_unit_test(what_does_not_shrink_says_so),
		cmocka_unit_test(threads_make_the_same_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
