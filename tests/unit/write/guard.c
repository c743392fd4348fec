/*
 * The set of guarded clusters and its sections.
 */
#include <pthread.h>

#include "support/test.h"
#include "write/guard.h"

enum { BITS = 16 };

static const uint64_t CLUSTER = 1 << BITS;

static void init(struct guard *g, uint32_t sections)
{
	assert_int_equal(guard_init(g, sections, BITS, 4, NULL), 0);
}

TEST(the_header_is_guarded_unasked)
{
	struct guard g;

	init(&g, QCOW2_OVERLAP_CACHED);
	assert_true(guard_hits(&g, 1, 0));
	assert_true(guard_hits(&g, 2 * CLUSTER, CLUSTER - 1));
	assert_false(guard_hits(&g, CLUSTER, CLUSTER));
	guard_release(&g);
}

TEST(the_header_is_left_alone_when_that_is_asked)
{
	struct guard g;

	init(&g, QCOW2_OVERLAP_ACTIVE_L1);
	assert_false(guard_hits(&g, 1, 0));
	guard_release(&g);
}

TEST(a_range_is_guarded_to_its_last_byte)
{
	struct guard g;

	init(&g, QCOW2_OVERLAP_ALL);
	assert_int_equal(guard_add(&g, QCOW2_OVERLAP_ACTIVE_L1, CLUSTER + 1,
				   10 * CLUSTER, NULL),
			 0);
	assert_false(guard_hits(&g, CLUSTER, 9 * CLUSTER));
	assert_true(guard_hits(&g, CLUSTER + 1, 9 * CLUSTER));
	assert_true(guard_hits(&g, 1, 12 * CLUSTER - 1));
	assert_false(guard_hits(&g, 1, 12 * CLUSTER));
	guard_release(&g);
}

TEST(only_chosen_sections_count)
{
	struct guard g;

	init(&g, QCOW2_OVERLAP_ACTIVE_L2);
	guard_add(&g, QCOW2_OVERLAP_REFCOUNT_BLOCK, 1, 5 * CLUSTER, NULL);
	assert_false(guard_hits(&g, 1, 5 * CLUSTER));
	guard_add(&g, QCOW2_OVERLAP_ACTIVE_L2, 1, 5 * CLUSTER, NULL);
	assert_true(guard_hits(&g, 1, 5 * CLUSTER));
	guard_release(&g);
}

TEST(a_cluster_of_two_sections_leaves_one_at_a_time)
{
	const uint32_t active = QCOW2_OVERLAP_ACTIVE_L2;
	const uint32_t inactive = QCOW2_OVERLAP_INACTIVE_L2;
	struct guard g;

	init(&g, QCOW2_OVERLAP_ALL);
	guard_add(&g, active | inactive, 1, 5 * CLUSTER, NULL);
	guard_remove(&g, active, 1, 5 * CLUSTER);
	assert_true(guard_hits(&g, 1, 5 * CLUSTER));
	guard_clear(&g, inactive);
	assert_false(guard_hits(&g, 1, 5 * CLUSTER));
	guard_release(&g);
}

/* Numbers that were removed must not hide those behind them. */
TEST(many_come_and_go)
{
	struct test_rng rng = test_rng_init(test_seed());
	bool in[4096] = { false };
	struct guard g;

	init(&g, QCOW2_OVERLAP_ALL);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t c = 1 + test_rng_below(&rng, 4095);

		in[c] = test_rng_below(&rng, 2);
		if (in[c])
			assert_int_equal(guard_add(&g, QCOW2_OVERLAP_ACTIVE_L2,
						   1, c * CLUSTER, NULL),
					 0);
		else
			guard_remove(&g, QCOW2_OVERLAP_ACTIVE_L2, 1,
				     c * CLUSTER);
	}
	for (uint64_t c = 1; c < 4096; c++)
		assert_int_equal(guard_hits(&g, 1, c * CLUSTER), in[c]);
	guard_release(&g);
}

struct reader {
	struct guard *g;
	_Atomic bool stop;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;

	while (!r->stop)
		if (!guard_hits(r->g, 1, 7 * CLUSTER))
			return r;
	return NULL;
}

TEST(readers_never_miss_what_is_there_while_the_set_grows)
{
	struct guard g;
	struct reader r = { .g = &g };
	pthread_t thread;
	void *missed;

	init(&g, QCOW2_OVERLAP_ALL);
	guard_add(&g, QCOW2_OVERLAP_ACTIVE_L2, 1, 7 * CLUSTER, NULL);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
	for (uint64_t c = 8; c < 50000; c++)
		guard_add(&g, QCOW2_OVERLAP_ACTIVE_L2, 1, c * CLUSTER, NULL);
	r.stop = true;
	pthread_join(thread, &missed);
	assert_null(missed);
	guard_release(&g);
}

TEST(every_question_is_counted)
{
	struct guard g;

	init(&g, QCOW2_OVERLAP_CACHED);
	assert_int_equal(guard_count_asked(&g), 0);
	guard_hits(&g, 1, 0);
	guard_hits(&g, 9 * CLUSTER, CLUSTER);
	assert_int_equal(guard_count_asked(&g), 2);
	guard_release(&g);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_set_that_is_not_as_it_should_be_is_found)
{
	struct guard_table *t;
	struct guard g;

	init(&g, QCOW2_OVERLAP_ALL);
	assert_int_equal(
		guard_add(&g, QCOW2_OVERLAP_ACTIVE_L1, CLUSTER, CLUSTER, NULL),
		0);
	guard_validate(&g);
	t = atomic_load(&g.table);
	ASSERT_ABORTS(t->mask--; guard_validate(&g));
	ASSERT_ABORTS(g.n_used = t->mask; guard_validate(&g));
	ASSERT_ABORTS(g.n_used = 0; guard_validate(&g));
	ASSERT_ABORTS(t->older = t; guard_validate(&g));
	ASSERT_ABORTS(for (uint64_t i = 0; i <= t->mask; i++) t->slots[i] = 0;
		      guard_validate(&g));
	/* A number where no search finds it. */
	ASSERT_ABORTS(for (uint64_t i = 0; i <= t->mask; i++)
			      t->slots[i] = t->slots[i] ? 12345 : 0;
		      guard_validate(&g));
	guard_release(&g);
}
