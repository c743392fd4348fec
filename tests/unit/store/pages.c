#include "store_test.h"

#include "store/pages.h"

static const uint64_t far_apart[] = {
	0, 1, 63, 64, 4095, 4096, 1 << 20, UINT64_C(1) << 40, PAGE_NUMBERS - 1
};
#define N_FAR (sizeof(far_apart) / sizeof(far_apart[0]))

static void fill(struct pages *p)
{
	for (size_t i = 0; i < N_FAR; i++) {
		uint8_t *page = pages_make(p, far_apart[i]);

		assert_non_null(page);
		assert_int_equal(page[0], 0);
		memset(page, (int)i + 1, PAGE_BYTES);
	}
}

TEST(keeps_pages_at_both_ends_of_the_numbers)
{
	struct pages p = { 0 };

	fill(&p);
	assert_int_equal(p.n_pages, N_FAR);
	for (size_t i = 0; i < N_FAR; i++) {
		assert_int_equal(pages_get(&p, far_apart[i])[17], i + 1);
		assert_ptr_equal(pages_make(&p, far_apart[i]),
				 pages_get(&p, far_apart[i]));
	}
	assert_null(pages_get(&p, 2));
	assert_null(pages_get(&p, PAGE_NUMBERS - 2));
	pages_drop(&p, 0, PAGE_NUMBERS - 1);
	assert_int_equal(p.n_pages, 0);
	assert_null(p.root);
}

TEST(finds_the_next_page_across_holes)
{
	struct pages p = { 0 };
	uint64_t found;

	assert_false(pages_next(&p, 0, &found));
	fill(&p);
	for (size_t i = 0; i < N_FAR; i++) {
		assert_true(pages_next(&p, far_apart[i], &found));
		assert_int_equal(found, far_apart[i]);
	}
	for (size_t i = 0; i + 1 < N_FAR; i++) {
		assert_true(pages_next(&p, far_apart[i] + 1, &found));
		assert_int_equal(found, far_apart[i + 1]);
	}
	pages_drop(&p, 4096, PAGE_NUMBERS - 1);
	assert_false(pages_next(&p, 4096, &found));
	assert_false(pages_next(&p, PAGE_NUMBERS - 1, &found));
	pages_drop(&p, 0, PAGE_NUMBERS - 1);
}

TEST(drops_only_what_is_in_the_range)
{
	for (size_t a = 0; a < N_FAR; a++)
		for (size_t b = a; b < N_FAR; b++) {
			struct pages p = { 0 };

			fill(&p);
			pages_drop(&p, far_apart[a], far_apart[b]);
			for (size_t i = 0; i < N_FAR; i++)
				assert_int_equal(!pages_get(&p, far_apart[i]),
						 i >= a && i <= b);
			assert_int_equal(p.n_pages, N_FAR - (b - a + 1));
			pages_drop(&p, 0, PAGE_NUMBERS - 1);
		}
}

TEST(copies_share_nothing)
{
	struct pages p = { 0 };
	struct pages copy = { 0 };

	fill(&p);
	assert_true(pages_copy(&copy, &p));
	pages_get(&p, 64)[0] = 99;
	pages_drop(&p, 0, 1);
	assert_int_equal(copy.n_pages, N_FAR);
	for (size_t i = 0; i < N_FAR; i++)
		assert_int_equal(pages_get(&copy, far_apart[i])[0], i + 1);
	pages_drop(&p, 0, PAGE_NUMBERS - 1);
	pages_drop(&copy, 0, PAGE_NUMBERS - 1);
}

TEST(pages_that_are_not_what_they_say_are_noticed)
{
	struct pages p = { 0 };

	pages_validate(&p);
	fill(&p);
	pages_validate(&p);
	ASSERT_ABORTS(p.n_pages++; pages_validate(&p));
	ASSERT_ABORTS(p.root = NULL; pages_validate(&p));
	ASSERT_ABORTS(p.height = 0; pages_validate(&p));
	ASSERT_ABORTS(p.height = 10; pages_validate(&p));
	ASSERT_ABORTS(*(uint64_t *)(void *)p.root ^= 2; pages_validate(&p));
	pages_drop(&p, 0, PAGE_NUMBERS - 1);
	pages_validate(&p);
}
