#include "base/bitset.h"

#include "support/test.h"

enum { N = 1000 };

TEST(a_new_set_is_empty)
{
	static const uint64_t sizes[] = { 0, 1, 63, 64, 65, 128, N };
	struct bitset b;

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		assert_true(bitset_init(&b, sizes[k]));
		assert_int_equal(b.n_bits, sizes[k]);
		for (uint64_t i = 0; i < sizes[k]; i++)
			assert_false(bitset_test(&b, i));
		bitset_release(&b);
	}
}

TEST(random_changes_agree_with_an_array)
{
	struct test_rng rng = test_rng_init(test_seed());
	bool want[N] = { false };
	struct bitset b;

	assert_true(bitset_init(&b, N));
	for (int k = 0; k < 5000; k++) {
		uint64_t i = test_rng_below(&rng, N);

		want[i] = test_rng_below(&rng, 2);
		if (want[i])
			bitset_set(&b, i);
		else
			bitset_clear(&b, i);
	}
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(bitset_test(&b, i), want[i]);
	bitset_release(&b);
}

TEST(a_released_set_can_be_released_again)
{
	struct bitset b;

	assert_true(bitset_init(&b, 10));
	bitset_release(&b);
	assert_null(b.words);
	bitset_release(&b);
}

TEST(bits_behind_the_end_are_noticed)
{
	struct bitset b;

	assert_true(bitset_init(&b, 65));
	bitset_set(&b, 64);
	assert_false(bitset_is_empty(&b));
	bitset_validate(&b);
	ASSERT_ABORTS(b.words[1] |= 2; bitset_validate(&b));
	ASSERT_ABORTS(b.words = NULL; bitset_validate(&b));
	ASSERT_ABORTS(bitset_test(&b, 65));
	ASSERT_ABORTS(bitset_set(&b, 65));
	ASSERT_ABORTS(bitset_clear(&b, 65));
	bitset_release(&b);
	bitset_validate(&b);
	assert_true(bitset_is_empty(&b));
}

TEST(set_bits_are_counted)
{
	struct bitset b;

	assert_true(bitset_init(&b, 200));
	assert_int_equal(bitset_count(&b), 0);
	for (uint64_t i = 0; i < 200; i += 3)
		bitset_set(&b, i);
	assert_int_equal(bitset_count(&b), 67);
	bitset_clear(&b, 0);
	assert_int_equal(bitset_count(&b), 66);
	bitset_release(&b);
	assert_int_equal(bitset_count(&b), 0);
}
