#include "base/zero.h"

#include <string.h>

#include "support/test.h"

enum { LEN_MAX = 700 };

TEST(nothing_is_all_zero)
{
	assert_true(is_zero("x", 0));
}

/* Every length, so every path through words, blocks and tails; one bit set at
 * every place. */
TEST(one_bit_anywhere_is_seen)
{
	uint8_t *end = (uint8_t *)guard_alloc(LEN_MAX) + LEN_MAX;

	memset(end - LEN_MAX, 0, LEN_MAX);
	for (size_t len = 1; len <= LEN_MAX; len++) {
		uint8_t *p = end - len;

		assert_true(is_zero(p, len));
		for (size_t i = 0; i < len; i++) {
			p[i] = (uint8_t)(1u << (i % 8));
			assert_false(is_zero(p, len));
			p[i] = 0;
		}
	}
	guard_free(end - LEN_MAX, LEN_MAX);
}

TEST(bytes_around_the_buffer_do_not_matter)
{
	uint8_t bytes[400];

	for (size_t len = 0; len <= 300; len++) {
		memset(bytes, 0xff, sizeof(bytes));
		memset(bytes + 33, 0, len);
		assert_true(is_zero(bytes + 33, len));
	}
}

/* Every length in words, and one bit set in every word. */
TEST(zeros_at_the_start_are_counted_in_words)
{
	uint8_t *end = (uint8_t *)guard_alloc(LEN_MAX) + LEN_MAX;

	memset(end - LEN_MAX, 0, LEN_MAX);
	for (size_t len = 0; len <= LEN_MAX; len += 8) {
		uint8_t *p = end - len;

		assert_int_equal(zero_prefix(p, len), len);
		for (size_t i = 0; i < len; i++) {
			p[i] = (uint8_t)(1u << (i % 8));
			assert_int_equal(zero_prefix(p, len), i / 8 * 8);
			p[i] = 0;
		}
	}
	guard_free(end - LEN_MAX, LEN_MAX);
}
