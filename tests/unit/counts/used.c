#include "rig.h"

#include "counts/used.h"

/* 512-byte clusters with 64-bit refcounts: a block describes 64 clusters.  A
 * walk that touched each region of such a file would not end. */
enum { SMALL = 512, PER_BLOCK = 64 };

#define LONG_FILE INT64_MAX

static void init(struct rig *t)
{
	rig_init_with(t, SMALL, 64, 0);
	t->refs.table[40] = 40 * PER_BLOCK * SMALL;
	assert_int_equal(store_truncate(t->file, LONG_FILE, NULL), 0);
	refcounts_skip(&t->refs, LONG_FILE);
	assert_true(t->refs.n_table > 41);
	assert_int_equal(t->refs.table[39], 0);
}

static uint64_t used_end(struct rig *t, uint64_t first, uint64_t end)
{
	uint64_t used = 0;

	assert_int_equal(refcounts_used_end(&t->refs, first, end, &used, NULL),
			 0);
	return used;
}

TEST(regions_without_a_block_are_skipped)
{
	struct rig t;

	init(&t);
	assert_int_equal(refcounts_next_described(&t.refs, 0), 0);
	assert_int_equal(refcounts_next_described(&t.refs, 5), 5);
	assert_int_equal(refcounts_next_described(&t.refs, 39 * PER_BLOCK),
			 40 * PER_BLOCK);
	assert_int_equal(refcounts_next_described(&t.refs, 40 * PER_BLOCK + 7),
			 40 * PER_BLOCK + 7);
	assert_int_equal(refcounts_next_described(&t.refs, 41 * PER_BLOCK),
			 UINT64_MAX);
	assert_int_equal(refcounts_next_described(&t.refs, LONG_FILE / SMALL),
			 UINT64_MAX);
	assert_int_equal(refcounts_described_end(&t.refs), 41 * PER_BLOCK);
	rig_release(&t);
}

TEST(the_last_that_is_used_is_found_from_behind)
{
	uint64_t end = LONG_FILE / SMALL;
	uint64_t first_end;
	struct rig t;

	init(&t);
	first_end = used_end(&t, 0, end);
	assert_true(first_end > 1 && first_end < 40 * PER_BLOCK);
	assert_int_not_equal(rig_count(&t, (first_end - 1) * SMALL), 0);
	assert_int_equal(refcounts_set(&t.refs, 1, 40 * PER_BLOCK + 9, NULL),
			 0);
	assert_int_equal(used_end(&t, 0, end), 40 * PER_BLOCK + 10);
	/* What lies at or behind the end does not count. */
	assert_int_equal(used_end(&t, 0, 40 * PER_BLOCK + 10),
			 40 * PER_BLOCK + 10);
	assert_int_equal(used_end(&t, 0, 40 * PER_BLOCK + 9), first_end);
	/* Nor what lies before the first. */
	assert_int_equal(used_end(&t, 20 * PER_BLOCK, 40 * PER_BLOCK),
			 20 * PER_BLOCK);
	assert_int_equal(used_end(&t, 40 * PER_BLOCK + 10, end),
			 40 * PER_BLOCK + 10);
	rig_release(&t);
}

TEST(a_walk_reads_only_the_blocks_that_exist)
{
	size_t from;
	struct rig t;

	init(&t);
	from = record_n_events(t.log);
	used_end(&t, 0, LONG_FILE / SMALL);
	/* One for each block that the table lists. */
	assert_true(rig_events(&t, from, STORE_OP_READ) <= t.refs.n_table);
	rig_release(&t);
}

TEST(refcounts_that_cannot_be_read_are_an_error)
{
	uint64_t used = 77;
	struct rig t;

	init(&t);
	rig_fail(&t, STORE_OP_READ, 1);
	assert_int_equal(
		refcounts_used_end(&t.refs, 0, LONG_FILE / SMALL, &used, NULL),
		-EIO);
	assert_int_equal(used, 77);
	rig_release(&t);
}

/* Nothing is claimed where nobody knows what lies there; the end of such a file
 * is too far for a block of refcounts. */
TEST(a_claim_does_not_step_through_a_long_tail)
{
	struct claim c;
	struct rig t;
	int rc;

	init(&t);
	do
		rc = refcounts_claim(&t.refs, PER_BLOCK, &c, NULL);
	while (rc == 0);
	assert_int_equal(rc, -EFBIG);
	assert_int_equal(used_end(&t, 0, LONG_FILE / SMALL), 41 * PER_BLOCK);
	rig_release(&t);
}
