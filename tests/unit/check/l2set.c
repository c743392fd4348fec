#include "check/l2set.h"

#include "support/test.h"

TEST(a_table_is_kept_once_with_its_references)
{
	struct budget b;
	struct l2set s;

	budget_init(&b, 0);
	l2set_init(&s, &b);
	for (uint32_t i = 0; i < 4000000; i++)
		assert_true(l2set_add(&s, 0x10000, i, true));
	assert_int_equal(s.n_tables, 1);
	assert_int_equal(s.tables[0].n_refs, 4000000);
	assert_int_equal(s.tables[0].n_active, 4000000);
	assert_int_equal(s.tables[0].l1_idx, 0);
	assert_true(b.used_bytes < 64 << 10);
	l2set_release(&s);
	assert_int_equal(b.used_bytes, 0);
}

TEST(the_active_index_wins)
{
	struct budget b;
	struct l2set s;

	budget_init(&b, 0);
	l2set_init(&s, &b);
	l2set_add(&s, 512, 7, false);
	l2set_add(&s, 512, 9, true);
	l2set_add(&s, 512, 11, true);
	l2set_add(&s, 512, 13, false);
	assert_int_equal(s.tables[0].l1_idx, 9);
	assert_int_equal(s.tables[0].n_refs, 4);
	assert_int_equal(s.tables[0].n_active, 2);
	l2set_release(&s);
}

TEST(tables_come_out_in_order_of_offset)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct budget b;
	struct l2set s;
	size_t n;

	budget_init(&b, 0);
	l2set_init(&s, &b);
	for (uint32_t i = 0; i < 10000; i++)
		l2set_add(&s, test_rng_below(&rng, 5000) << 21, i, i & 1);
	n = s.n_tables;
	l2set_sort(&s);
	assert_int_equal(s.n_tables, n);
	for (size_t i = 1; i < n; i++)
		assert_true(s.tables[i - 1].host_off < s.tables[i].host_off);
	l2set_release(&s);
}

TEST(an_empty_set_sorts)
{
	struct budget b;
	struct l2set s;

	budget_init(&b, 0);
	l2set_init(&s, &b);
	l2set_sort(&s);
	assert_int_equal(s.n_tables, 0);
	l2set_release(&s);
}

TEST(the_budget_ends_it_without_harm)
{
	struct budget b;
	struct l2set s;
	uint32_t n = 0;

	budget_init(&b, 20 << 10);
	l2set_init(&s, &b);
	while (l2set_add(&s, (uint64_t)n << 16, n, true))
		n++;
	assert_true(b.exceeded);
	assert_true(n >= 64);
	l2set_release(&s);
	assert_int_equal(b.used_bytes, 0);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_set_that_is_not_as_it_should_be_is_found)
{
	struct budget b;
	struct l2set s;

	budget_init(&b, 0);
	l2set_init(&s, &b);
	assert_true(l2set_add(&s, 8192, 1, true));
	assert_true(l2set_add(&s, 4096, 0, false));
	l2set_validate(&s);
	ASSERT_ABORTS(s.n_tables = s.capacity + 1; l2set_validate(&s));
	ASSERT_ABORTS(s.n_slots--; l2set_validate(&s));
	ASSERT_ABORTS(s.n_slots = 2; l2set_validate(&s));
	ASSERT_ABORTS(s.tables[0].n_refs = 0; l2set_validate(&s));
	ASSERT_ABORTS(s.tables[1].n_active = 2; l2set_validate(&s));
	l2set_sort(&s);
	ASSERT_ABORTS(s.tables[1].host_off = 4096; l2set_validate(&s));
	l2set_release(&s);
}
