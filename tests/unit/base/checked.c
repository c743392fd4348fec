#include "base/checked.h"
#include "base/range.h"
#include "support/test.h"

TEST(sums_that_do_not_fit_are_refused)
{
	uint64_t out = 7;

	assert_true(checked_add(UINT64_MAX - 1, 1, &out));
	assert_true(out == UINT64_MAX);
	out = 7;
	assert_false(checked_add(UINT64_MAX, 1, &out));
	assert_false(checked_add(1, UINT64_MAX, &out));
	assert_int_equal(out, 7);
}

TEST(products_that_do_not_fit_are_refused)
{
	uint64_t out = 7;

	assert_true(checked_mul(UINT64_MAX, 1, &out));
	assert_true(out == UINT64_MAX);
	assert_true(checked_mul(UINT64_MAX, 0, &out));
	assert_int_equal(out, 0);
	assert_true(
		checked_mul(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &out));
	assert_true(out == UINT64_MAX - UINT32_MAX);
	out = 7;
	assert_false(checked_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
	assert_int_equal(out, 7);
}

TEST(alignment_up_stops_at_the_top)
{
	uint64_t out = 7;

	assert_true(checked_align_up(0, 512, &out));
	assert_int_equal(out, 0);
	assert_true(checked_align_up(1, 512, &out));
	assert_int_equal(out, 512);
	assert_true(checked_align_up(512, 512, &out));
	assert_int_equal(out, 512);
	assert_true(checked_align_up(UINT64_MAX - 511, 512, &out));
	assert_true(out == UINT64_MAX - 511);
	out = 7;
	assert_false(checked_align_up(UINT64_MAX - 510, 512, &out));
	assert_int_equal(out, 7);
}

TEST(rounding_agrees_with_division)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int i = 0; i < 10000; i++) {
		uint64_t align = UINT64_C(1) << test_rng_below(&rng, 22);
		uint64_t v = test_rng_next(&rng) >> test_rng_below(&rng, 63);
		uint64_t up = 0;

		assert_true(align_down(v, align) == v / align * align);
		assert_int_equal(is_aligned(v, align), v % align == 0);
		assert_true(div_round_up(v, align) ==
			    v / align + (v % align ? 1 : 0));
		if (!checked_align_up(v, align, &up))
			continue;
		assert_true(up == div_round_up(v, align) * align);
		assert_true(align_up(v, align) == up);
	}
}

TEST(the_smaller_and_the_larger)
{
	assert_int_equal(min_u64(1, 2), 1);
	assert_int_equal(min_u64(2, 1), 1);
	assert_true(max_u64(UINT64_MAX, 0) == UINT64_MAX);
	assert_int_equal(max_u64(3, 3), 3);
}

TEST(ranges_are_sane_below_two_to_the_63)
{
	assert_true(range_is_sane(0, INT64_MAX));
	assert_true(range_is_sane(INT64_MAX, 0));
	assert_false(range_is_sane(1, INT64_MAX));
	assert_false(range_is_sane((uint64_t)INT64_MAX + 1, 0));
	assert_false(range_is_sane(UINT64_MAX, UINT64_MAX));
}

TEST(ranges_touch_without_overlapping)
{
	struct range a = { 10, 10 };

	assert_true(range_overlaps(a, (struct range){ 19, 1 }));
	assert_true(range_overlaps(a, (struct range){ 0, 11 }));
	assert_true(range_overlaps(a, (struct range){ 0, 100 }));
	assert_false(range_overlaps(a, (struct range){ 20, 5 }));
	assert_false(range_overlaps(a, (struct range){ 0, 10 }));
	assert_false(range_overlaps(a, (struct range){ 15, 0 }));
	assert_true(range_contains(a, a));
	assert_true(range_contains(a, (struct range){ 20, 0 }));
	assert_false(range_contains(a, (struct range){ 9, 2 }));
	assert_false(range_contains(a, (struct range){ 19, 2 }));
}
