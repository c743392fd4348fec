#include "counts/inherited.h"

#include "rig.h"

/* Clusters that are used, one in the middle that is not; then all of it counts
 * as inherited. */
static void inherit(struct rig *t, uint64_t *gap_off)
{
	struct claim c;

	rig_init(t);
	c = rig_claim(t, 8);
	*gap_off = c.host_off + 3 * RIG_CLUSTER;
	assert_int_equal(
		refcounts_decrement(&t->refs, 1, *gap_off / RIG_CLUSTER, NULL),
		0);
	refcounts_doubt(&t->refs);
}

TEST(nothing_inherited_is_claimed_on_the_files_word)
{
	uint64_t gap_off, end;
	struct claim c;
	struct rig t;

	inherit(&t, &gap_off);
	end = t.refs.high_water;
	assert_int_equal(rig_claim(&t, 1).host_off, end);
	assert_int_equal(refcounts_claim_row(&t.refs, 2, &c, NULL), 0);
	assert_true(c.host_off > end);
	assert_int_equal(
		refcounts_take(&t.refs, 1, gap_off / RIG_CLUSTER, NULL), 1);
	rig_release(&t);
}

TEST(what_was_proved_is_claimed_first)
{
	uint64_t gap_off;
	struct rig t;

	inherit(&t, &gap_off);
	rig_claim(&t, 1);
	refcounts_believe(&t.refs);
	assert_int_equal(rig_claim(&t, 1).host_off, gap_off);
	rig_release(&t);
}

/* It is 0 because it was too low: only the proof can say that. */
TEST(a_doubted_refcount_of_zero_may_be_lowered)
{
	uint64_t gap_off;
	struct rig t;

	inherit(&t, &gap_off);
	assert_int_equal(
		refcounts_decrement(&t.refs, 1, gap_off / RIG_CLUSTER, NULL),
		0);
	assert_int_equal(rig_count(&t, gap_off), 0);
	refcounts_believe(&t.refs);
	assert_int_equal(
		refcounts_decrement(&t.refs, 1, gap_off / RIG_CLUSTER, NULL),
		-EIO);
	rig_release(&t);
}

TEST(the_file_is_cut_where_something_became_free)
{
	uint64_t gap_off, end;
	struct rig t;

	inherit(&t, &gap_off);
	end = t.refs.high_water / RIG_CLUSTER;
	assert_int_equal(refcounts_cut_limit(&t.refs), end);
	refcounts_believe(&t.refs);
	assert_int_equal(refcounts_cut_limit(&t.refs), end);
	assert_int_equal(refcounts_decrement(&t.refs, 1,
					     gap_off / RIG_CLUSTER + 1, NULL),
			 0);
	assert_int_equal(refcounts_cut_limit(&t.refs), 1);
	rig_release(&t);
}

TEST(only_what_is_lower_is_raised)
{
	uint64_t gap_off, first, n = 0;
	struct rig t;

	inherit(&t, &gap_off);
	first = gap_off / RIG_CLUSTER - 1;
	assert_int_equal(refcounts_raise(&t.refs, 3, first, 1, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(rig_count(&t, gap_off), 1);
	assert_int_equal(refcounts_raise(&t.refs, 3, first, 2, &n, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(refcounts_raise(&t.refs, 3, first, 1, &n, NULL), 0);
	assert_int_equal(rig_count(&t, gap_off), 2);
	assert_int_equal(refcounts_raise(&t.refs, 1, first, 1 << 20, &n, NULL),
			 -ERANGE);
	rig_release(&t);
}

/* 512-byte clusters with 64-bit refcounts: a block describes 64 clusters. */
TEST(a_block_in_the_middle_can_be_made_again)
{
	enum { PER_BLOCK = 64 };
	struct claim c;
	struct rig t;
	uint64_t n = 0;

	rig_init_with(&t, 512, 64, 0);
	do {
		assert_int_equal(refcounts_claim(&t.refs, 1, &c, NULL), 0);
	} while (c.host_off / 512 < 3 * PER_BLOCK + 10);
	t.refs.table[1] = 0;
	refcounts_doubt(&t.refs);
	assert_int_equal(
		refcounts_raise(&t.refs, 1, PER_BLOCK + 3, 1, &n, NULL), 1);
	c = rig_claim(&t, 1);
	assert_int_equal(commit_flush(&t.commit, NULL), 0);
	assert_int_equal(refcounts_add_block_at(&t.refs, PER_BLOCK + 3,
						c.host_off, NULL),
			 0);
	assert_int_equal(
		refcounts_raise(&t.refs, 1, PER_BLOCK + 3, 1, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(rig_count(&t, (PER_BLOCK + 3) * 512), 1);
	assert_int_equal(rig_count(&t, (PER_BLOCK + 4) * 512), 0);
	assert_int_equal(commit_flush(&t.commit, NULL), 0);
	assert_int_equal(rig_read64(&t, t.header.refcount_table_off + 8),
			 c.host_off);
	rig_release(&t);
}

/* The run may be freed, but not punched. */
TEST(nothing_doubted_is_punched)
{
	uint64_t gap_off;
	struct rig t;
	size_t from;

	inherit(&t, &gap_off);
	from = record_n_events(t.log);
	assert_int_equal(commit_begin(&t.commit, 1, NULL), 0);
	commit_free(&t.commit,
		    (struct freed){ gap_off + RIG_CLUSTER, 2, true });
	commit_end(&t.commit);
	assert_int_equal(commit_drain(&t.commit, NULL), 0);
	assert_int_equal(rig_count(&t, gap_off + RIG_CLUSTER), 0);
	assert_int_equal(rig_events(&t, from, STORE_OP_ZERO), 0);
	rig_release(&t);
}
