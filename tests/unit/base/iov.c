#include "base/iov.h"

#include <string.h>

#include "base/checked.h"
#include "support/test.h"

enum { SEGMENTS = 6, BYTES = 64 };

struct vector {
	struct iovec iov[SEGMENTS];
	uint8_t bytes[BYTES];
	uint64_t len;
};

/* Segments of random length, some empty, that lie one after another. */
static void vector_init(struct vector *v, struct test_rng *rng)
{
	v->len = 0;
	memset(v->bytes, 0xee, sizeof(v->bytes));
	for (int i = 0; i < SEGMENTS; i++) {
		v->iov[i].iov_base = v->bytes + v->len;
		v->iov[i].iov_len = test_rng_below(rng, 11);
		v->len += v->iov[i].iov_len;
	}
}

TEST(the_length_is_the_sum)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct vector v;

	assert_int_equal(iov_len(NULL, 0), 0);
	for (int i = 0; i < 100; i++) {
		vector_init(&v, &rng);
		assert_int_equal(iov_len(v.iov, SEGMENTS), v.len);
	}
}

TEST(a_length_past_all_numbers_is_noticed)
{
	const struct iovec iov[] = { { NULL, SIZE_MAX }, { NULL, SIZE_MAX } };

	assert_int_equal(iov_len(iov, 1), SIZE_MAX);
	ASSERT_ABORTS(iov_len(iov, -1));
	/* If sizes have fewer bits than the sum, all of them fit. */
	if (SIZE_MAX == UINT64_MAX)
		ASSERT_ABORTS(iov_len(iov, 2));
}

/* Pieces follow each other without a gap, for any length asked for. */
TEST(pieces_cover_the_vector_in_order)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct iovec out[SEGMENTS];
	struct vector v;

	for (int i = 0; i < 2000; i++) {
		struct iov_cursor c;
		uint64_t at = 0;

		vector_init(&v, &rng);
		c = iov_cursor_init(v.iov, SEGMENTS);
		while (at < v.len) {
			uint64_t want = 1 + test_rng_below(&rng, 20);
			int max = 1 + (int)test_rng_below(&rng, SEGMENTS);
			uint64_t got, sum = 0;
			int n;

			got = iov_take(&c, want, out, max, &n);
			assert_true(n <= max && got <= want);
			for (int k = 0; k < n; k++) {
				assert_ptr_equal(out[k].iov_base,
						 v.bytes + at + sum);
				sum += out[k].iov_len;
			}
			assert_int_equal(sum, got);
			assert_true(got > 0);
			if (n < max)
				assert_true(got == min_u64(want, v.len - at));
			at += got;
		}
		assert_int_equal(iov_next(&c, 1).iov_len, 0);
	}
}

TEST(copies_and_zeros_land_where_they_belong)
{
	static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				   "0123456789abcdefghijklmnopqrstuvwxyz";
	struct test_rng rng = test_rng_init(test_seed());
	struct vector v;

	for (int i = 0; i < 500; i++) {
		struct iov_cursor c;
		uint64_t copied, zeroed;

		vector_init(&v, &rng);
		copied = test_rng_below(&rng, v.len + 1);
		zeroed = test_rng_below(&rng, v.len - copied + 1);
		c = iov_cursor_init(v.iov, SEGMENTS);
		iov_copy_in(&c, text, copied);
		iov_zero(&c, zeroed);
		assert_memory_equal(v.bytes, text, copied);
		for (uint64_t k = copied; k < BYTES; k++)
			assert_int_equal(v.bytes[k],
					 k < copied + zeroed ? 0 : 0xee);
		iov_zero(&c, BYTES);
		iov_copy_in(&c, text, 1);
		assert_int_equal(c.iovcnt, 0);
	}
}

TEST(a_cursor_behind_its_segment_is_noticed)
{
	char text[4] = { 0 };
	struct iovec iov = { text, sizeof(text) };
	struct iov_cursor c = iov_cursor_init(&iov, 1);

	iov_cursor_validate(&c);
	ASSERT_ABORTS(c.seg_off = sizeof(text) + 1; iov_next(&c, 1));
	ASSERT_ABORTS(c.iov = NULL; iov_next(&c, 1));
	ASSERT_ABORTS(c.iovcnt = -1; iov_next(&c, 1));
}
