#include "check/refs.h"

#include <stdlib.h>

#include "support/test.h"

TEST(counters_that_were_never_touched_are_zero)
{
	struct budget b;
	struct refs r;

	budget_init(&b, 0);
	refs_init(&r, &b);
	assert_int_equal(refs_get(&r, 0), 0);
	assert_int_equal(refs_get(&r, UINT64_MAX), 0);
	refs_prefetch(&r, 5);
	assert_int_equal(b.used_bytes, 0);
	refs_release(&r);
}

TEST(far_apart_clusters_cost_a_chunk_each)
{
	struct budget b;
	struct refs r;
	enum use old;

	budget_init(&b, 0);
	refs_init(&r, &b);
	for (uint64_t i = 0; i < 1000; i++) {
		uint32_t *word = refs_at(&r, i << 40);

		assert_non_null(word);
		assert_true(refs_add(word, USE_DATA, (uint32_t)i + 1, &old));
	}
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(refs_count(refs_get(&r, i << 40)), i + 1);
		assert_int_equal(refs_get(&r, (i << 40) + 1), 0);
	}
	assert_int_equal(r.n_chunks, 1000);
	assert_true(b.used_bytes < 4 << 20);
	refs_release(&r);
	assert_int_equal(b.used_bytes, 0);
}

TEST(the_three_fields_do_not_touch_each_other)
{
	uint32_t word = 0;
	enum use old;

	refs_set_stored(&word, STORED_MANY);
	assert_true(refs_add(&word, USE_L2_TABLE, 3, &old));
	assert_int_equal(old, USE_NONE);
	refs_set_stored(&word, STORED_ONE);
	assert_int_equal(refs_count(word), 3);
	assert_int_equal(refs_use(word), USE_L2_TABLE);
	assert_int_equal(refs_stored(word), STORED_ONE);
}

TEST(counts_saturate_instead_of_spilling)
{
	uint32_t word = 0;
	enum use old;

	refs_add(&word, USE_DATA, UINT32_MAX, &old);
	assert_int_equal(refs_count(word), REFS_COUNT_MAX);
	refs_add(&word, USE_DATA, UINT32_MAX, &old);
	assert_int_equal(refs_count(word), REFS_COUNT_MAX);
	assert_int_equal(refs_use(word), USE_DATA);
	assert_int_equal(refs_stored(word), STORED_ZERO);
}

TEST(data_and_l2_tables_are_shared_among_themselves)
{
	static const enum use shared[] = { USE_DATA, USE_L2_TABLE,
					   USE_REFCOUNT_BLOCK };
	enum use old;

	for (size_t i = 0; i < 3; i++) {
		uint32_t word = 0;

		assert_true(refs_add(&word, shared[i], 1, &old));
		assert_true(refs_add(&word, shared[i], 1, &old));
		assert_int_equal(refs_count(word), 2);
	}
}

TEST(a_conflict_is_told_once)
{
	uint32_t word = 0;
	enum use old;

	assert_true(refs_add(&word, USE_HEADER, 1, &old));
	assert_false(refs_add(&word, USE_HEADER, 1, &old));
	assert_int_equal(old, USE_HEADER);
	assert_int_equal(refs_use(word), USE_CONFLICT);
	assert_true(refs_add(&word, USE_DATA, 1, &old));
	assert_int_equal(refs_count(word), 3);
	word = 0;
	refs_add(&word, USE_L2_TABLE, 1, &old);
	assert_false(refs_add(&word, USE_DATA, 1, &old));
	assert_int_equal(old, USE_L2_TABLE);
}

TEST(sorting_keeps_every_counter)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint64_t idx[500];
	struct budget b;
	struct refs r;
	enum use old;

	budget_init(&b, 0);
	refs_init(&r, &b);
	for (size_t i = 0; i < 500; i++) {
		idx[i] = test_rng_next(&rng) >> (test_rng_next(&rng) % 60);
		refs_add(refs_at(&r, idx[i]), USE_DATA, 1, &old);
	}
	refs_sort(&r);
	for (size_t i = 0; i < 500; i++)
		assert_true(refs_count(refs_get(&r, idx[i])) > 0);
	for (size_t i = 1; i < r.n_chunks; i++)
		assert_true(r.chunks[i - 1].idx < r.chunks[i].idx);
	refs_release(&r);
}

TEST(the_budget_ends_it_without_harm)
{
	struct budget b;
	struct refs r;
	uint64_t n = 0;

	budget_init(&b, 100 << 10);
	refs_init(&r, &b);
	while (refs_at(&r, n << 20))
		n++;
	assert_true(b.exceeded);
	assert_true(n > 10 && n < 100);
	assert_non_null(refs_at(&r, 0));
	refs_release(&r);
	assert_int_equal(b.used_bytes, 0);
}

TEST(every_use_has_a_name)
{
	for (int use = USE_NONE; use <= USE_CONFLICT; use++)
		assert_non_null(use_name((enum use)use));
}

/* ---- Its validator ------------------------------------------------------- */

TEST(counters_that_are_not_as_they_should_be_are_found)
{
	struct budget b;
	struct refs r;
	enum use old;
	uint32_t *word;

	budget_init(&b, 0);
	refs_init(&r, &b);
	word = refs_at(&r, 7);
	assert_non_null(word);
	assert_true(refs_add(word, USE_DATA, 1, &old));
	refs_validate(&r);
	ASSERT_ABORTS(r.n_chunks = r.capacity + 1; refs_validate(&r));
	ASSERT_ABORTS(r.n_slots--; refs_validate(&r));
	ASSERT_ABORTS(r.n_slots = 1; refs_validate(&r));
	ASSERT_ABORTS(r.chunks[0].words = NULL; refs_validate(&r));
	ASSERT_ABORTS(r.chunks[0].idx++; refs_validate(&r));
	ASSERT_ABORTS(*word |= UINT32_C(15) << REFS_COUNT_BITS;
		      refs_validate(&r));
	ASSERT_ABORTS(*word |= UINT32_C(3) << 30; refs_validate(&r));
	ASSERT_ABORTS(*word = 1; refs_validate(&r));
	ASSERT_ABORTS(refs_add(word, USE_NONE, 1, &old));
	ASSERT_ABORTS(refs_add(word, USE_CONFLICT, 1, &old));
	refs_release(&r);
}
