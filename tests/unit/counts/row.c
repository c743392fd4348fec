#include "rig.h"

/* 512-byte clusters with 64-bit refcounts: a block describes 64 clusters. */
enum {
	SMALL = 512,
	PER_BLOCK = 64,
	PER_TABLE = 64 * PER_BLOCK,
	N_USED = 3 * PER_BLOCK,
};

/* All clusters of three blocks are in use. */
static void full(struct rig *t)
{
	rig_init_with(t, SMALL, 64, 0);
	for (uint64_t n = 0; n < N_USED;) {
		struct claim c;

		assert_int_equal(refcounts_claim(&t->refs, N_USED, &c, NULL),
				 0);
		n = c.host_off / SMALL + c.n_clusters;
	}
}

static void make_gap(struct rig *t, uint64_t n, uint64_t first)
{
	assert_int_equal(refcounts_decrement(&t->refs, n, first, NULL), 0);
}

static uint64_t claim_row(struct rig *t, uint64_t n)
{
	struct claim c;

	assert_int_equal(refcounts_claim_row(&t->refs, n, &c, NULL), 0);
	assert_int_equal(c.n_clusters, n);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(rig_count(t, c.host_off + i * SMALL), 1);
	return c.host_off / SMALL;
}

TEST(the_first_gap_with_room_is_taken)
{
	struct rig t;

	full(&t);
	make_gap(&t, 1, 20);
	make_gap(&t, 3, 30);
	make_gap(&t, 5, 40);
	make_gap(&t, 5, 50);
	assert_int_equal(claim_row(&t, 4), 40);
	assert_int_equal(rig_count(&t, 44 * SMALL), 0);
	assert_int_equal(claim_row(&t, 3), 30);
	assert_int_equal(rig_count(&t, 20 * SMALL), 0);
	rig_release(&t);
}

TEST(a_gap_may_lie_in_two_blocks)
{
	struct rig t;

	full(&t);
	make_gap(&t, 1, 10);
	make_gap(&t, 8, PER_BLOCK - 4);
	assert_int_equal(claim_row(&t, 8), PER_BLOCK - 4);
	rig_release(&t);
}

TEST(without_a_gap_the_end_is_taken)
{
	struct rig t;

	full(&t);
	make_gap(&t, 3, 20);
	make_gap(&t, 3, 24);
	assert_true(claim_row(&t, 4) >= N_USED);
	assert_int_equal(rig_count(&t, 20 * SMALL), 0);
	rig_release(&t);
}

/* A long row takes a longer table.  The table lies at the end and moves the row
 * on: once more past the clusters that the table describes, if that has no room
 * to spare. */
TEST(a_row_may_take_more_than_the_table_describes)
{
	for (uint64_t n = PER_TABLE / 2; n <= 8 * PER_TABLE; n += 509) {
		struct rig t;
		uint64_t first;

		rig_init_with(&t, SMALL, 64, 0);
		first = claim_row(&t, n);
		assert_true((first + n - 1) / PER_BLOCK < t.refs.n_table);
		rig_release(&t);
	}
}

TEST(rows_are_found_below_an_end)
{
	struct rig t;
	uint64_t first;

	full(&t);
	make_gap(&t, 4, 30);
	assert_int_equal(refcounts_find_row(&t.refs, 4, 34, &first, NULL), 0);
	assert_int_equal(first, 30);
	assert_int_equal(refcounts_find_row(&t.refs, 4, 33, &first, NULL), 1);
	assert_int_equal(refcounts_find_row(&t.refs, 5, N_USED, &first, NULL),
			 1);
	rig_release(&t);
}

TEST(what_is_held_is_in_no_row)
{
	struct rig t;

	full(&t);
	refcounts_hold(&t.refs, 31);
	make_gap(&t, 4, 30);
	assert_true(claim_row(&t, 4) >= N_USED);
	assert_int_equal(rig_count(&t, 30 * SMALL), 0);
	refcounts_hold(&t.refs, 0);
	rig_release(&t);
}

TEST(a_row_whose_refcounts_cannot_be_read_is_an_error)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO,
					 .persistent = true };
	struct claim c;
	struct rig t;

	rig_init_with(&t, SMALL, 64, 0);
	store_truncate(t.file, 64 * PER_BLOCK * SMALL, NULL);
	fault_arm(&t.fault, &plan);
	assert_int_equal(refcounts_claim_row(&t.refs, 4, &c, NULL), -EIO);
	fault_arm(&t.fault, NULL);
	rig_release(&t);
}
