#include "base/tally.h"

#include <pthread.h>
#include <string.h>

#include "support/test.h"

enum { N_THREADS = 24, N_EACH = 20000 };

TEST(nothing_is_counted_at_first)
{
	struct tally t = { 0 };

	for (unsigned i = 0; i < TALLY_NUMBERS; i++)
		assert_int_equal(tally_sum(&t, i), 0);
}

TEST(numbers_do_not_mix)
{
	struct tally t = { 0 };

	tally_count(&t, 0, 4096);
	tally_count(&t, 0, UINT64_C(1) << 40);
	tally_add(&t, TALLY_NUMBERS - 1, 3);
	assert_int_equal(tally_sum(&t, 0), 2);
	assert_int_equal(tally_sum(&t, 1), 4096 + (UINT64_C(1) << 40));
	assert_int_equal(tally_sum(&t, 2), 0);
	assert_int_equal(tally_sum(&t, TALLY_NUMBERS - 1), 3);
}

static void *count_on(void *arg)
{
	for (unsigned i = 0; i < N_EACH; i++)
		tally_count(arg, 2, 7);
	return NULL;
}

/* More threads than slots, so that some share one. */
TEST(many_threads_lose_nothing)
{
	struct tally t = { 0 };
	pthread_t threads[N_THREADS];
	uint64_t before = 0;

	for (unsigned i = 0; i < N_THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, count_on, &t), 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now = tally_sum(&t, 2);

		assert_true(now >= before);
		before = now;
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(tally_sum(&t, 2), N_THREADS * N_EACH);
	assert_int_equal(tally_sum(&t, 3), 7 * N_THREADS * N_EACH);
}

/* A line of 64 bytes has numbers of one slot, at any place of the tally. */
TEST(slots_share_no_cache_line)
{
	static const struct tally t;

	assert_true((uintptr_t)&t.slots[1].busy -
			    (uintptr_t)(&t.slots[0].n[TALLY_NUMBERS - 1] + 1) >=
		    64);
}
