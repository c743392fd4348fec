#include "check/budget.h"

#include <errno.h>
#include <string.h>

#include "support/test.h"

TEST(allocations_count_and_are_given_back)
{
	struct budget b;
	void *p;

	budget_init(&b, 1000);
	p = budget_alloc(&b, 600);
	assert_non_null(p);
	assert_int_equal(b.used_bytes, 600);
	budget_free(&b, p, 600);
	assert_int_equal(b.used_bytes, 0);
	budget_free(&b, NULL, 600);
	assert_int_equal(b.used_bytes, 0);
}

TEST(more_than_the_limit_is_refused_by_name)
{
	struct qcow2_error err = { 0 };
	struct budget b;
	void *p;

	budget_init(&b, 1000);
	p = budget_alloc(&b, 1000);
	assert_non_null(p);
	assert_null(budget_alloc(&b, 1));
	assert_int_equal(budget_error(&b, "a thing", &err), -E2BIG);
	assert_non_null(strstr(err.message, "metadata_bytes"));
	assert_non_null(strstr(err.message, "a thing"));
	budget_free(&b, p, 1000);
}

TEST(zero_means_the_default)
{
	struct budget b;

	budget_init(&b, 0);
	assert_int_equal(b.limit_bytes, BUDGET_BYTES_DEFAULT);
}

TEST(arrays_grow_and_keep_their_items)
{
	struct budget b;
	uint32_t *items = NULL;
	size_t capacity = 0;

	budget_init(&b, 0);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_true(budget_grow(&b, (void **)&items, sizeof(*items), i,
					&capacity));
		items[i] = i;
	}
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(items[i], i);
	assert_int_equal(b.used_bytes, capacity * sizeof(*items));
	budget_free(&b, items, capacity * sizeof(*items));
	assert_int_equal(b.used_bytes, 0);
}

TEST(an_array_that_cannot_grow_stays)
{
	struct budget b;
	uint64_t *items = NULL;
	size_t capacity = 0;

	budget_init(&b, 64 * sizeof(*items));
	assert_true(
		budget_grow(&b, (void **)&items, sizeof(*items), 0, &capacity));
	items[63] = 7;
	assert_false(budget_grow(&b, (void **)&items, sizeof(*items), 64,
				 &capacity));
	assert_int_equal(capacity, 64);
	assert_int_equal(items[63], 7);
	budget_free(&b, items, capacity * sizeof(*items));
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_budget_that_is_overdrawn_is_found)
{
	struct budget b;

	budget_init(&b, 4096);
	budget_validate(&b);
	ASSERT_ABORTS(b.used_bytes = 4097; budget_validate(&b));
	ASSERT_ABORTS(b.limit_bytes = 0; budget_validate(&b));
	ASSERT_ABORTS(budget_free(&b, &b, 1));
}
