#include "counts/grow.h"

#include "rig.h"

/* 512-byte clusters with 64-bit refcounts: a block describes 64 clusters, a
 * table of one cluster 4096. */
enum { SMALL = 512, PER_BLOCK = 64, PER_TABLE = 64 * PER_BLOCK };

static void small(struct rig *t)
{
	rig_init_with(t, SMALL, 64, 0);
}

TEST(a_new_block_describes_itself)
{
	uint64_t block;
	struct rig t;
	uint64_t i;

	small(&t);
	i = (t.refs.high_water / SMALL / PER_BLOCK + 1) * PER_BLOCK;
	assert_int_equal(refcounts_add_block(&t.refs, i, NULL), 0);
	block = t.refs.table[i / PER_BLOCK];
	assert_int_equal(block / SMALL, i);
	assert_int_equal(rig_count(&t, block), 1);
	assert_int_equal(rig_count(&t, block + SMALL), 0);
	assert_int_equal(rig_read64(&t, block), 1);
	assert_int_equal(commit_flush(&t.commit, NULL), 0);
	assert_int_equal(rig_read64(&t, t.header.refcount_table_off +
						8 * (i / PER_BLOCK)),
			 block);
	assert_int_equal(t.n_new, 1);
	assert_int_equal(t.n_old, 0);
	rig_release(&t);
}

TEST(the_block_is_durable_before_its_entry)
{
	struct rig t;
	size_t from;

	small(&t);
	from = record_n_events(t.log);
	assert_int_equal(refcounts_add_block(&t.refs, 10 * PER_BLOCK, NULL), 0);
	assert_int_equal(record_n_events(t.log), from + 2);
	assert_int_equal(record_event(t.log, from)->op, STORE_OP_WRITE);
	assert_int_equal(record_event(t.log, from + 1)->op, STORE_OP_FLUSH);
	/* The entry is written with the refcounts of the next commit. */
	assert_int_equal(commit_flush(&t.commit, NULL), 0);
	assert_int_equal(record_n_events(t.log), from + 4);
	assert_int_equal(record_event(t.log, from + 2)->op, STORE_OP_WRITE);
	assert_int_equal(record_event(t.log, from + 2)->off,
			 t.header.refcount_table_off);
	assert_int_equal(commit_flush(&t.commit, NULL), 0);
	assert_int_equal(record_n_events(t.log), from + 5);
	rig_release(&t);
}

TEST(a_block_that_is_there_is_not_made_again)
{
	struct rig t;

	small(&t);
	assert_int_equal(refcounts_add_block(&t.refs, 10 * PER_BLOCK, NULL), 0);
	assert_int_equal(refcounts_add_block(&t.refs, 10 * PER_BLOCK + 1, NULL),
			 0);
	assert_int_equal(t.n_new, 1);
	rig_release(&t);
}

/* A block has to describe itself, or its own refcount would be missing. */
TEST(a_block_is_not_made_behind_its_region)
{
	struct qcow2_error err = { 0 };
	struct rig t;
	uint64_t table1;

	small(&t);
	rig_claim(&t, PER_BLOCK / 2);
	t.refs.high_water = 3 * PER_BLOCK * SMALL;
	table1 = t.refs.table[1];
	t.refs.table[1] = 0;
	assert_int_equal(refcounts_add_block(&t.refs, PER_BLOCK, NULL), 1);
	assert_int_equal(t.n_new, 0);
	assert_int_equal(refcounts_increment(&t.refs, 1, PER_BLOCK, &err),
			 -EIO);
	assert_int_equal(err.defect, DEFECT_REFCOUNT_TOO_LOW);
	t.refs.table[1] = table1;
	rig_release(&t);
}

/* T1: such an entry has no offset and is not empty.  Code that took it for a
 * missing block made one, looked again, and so for ever. */
TEST(an_entry_of_reserved_bits_alone_is_refused)
{
	struct qcow2_error err = { 0 };
	struct claim claim;
	struct rig t;

	small(&t);
	t.refs.table[0] = 1;
	assert_int_equal(refcounts_claim(&t.refs, 1, &claim, &err), -EIO);
	assert_int_equal(err.defect, DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED);
	assert_int_equal(refcounts_claim_row(&t.refs, 8, &claim, NULL), -EIO);
	assert_int_equal(refcounts_increment(&t.refs, 1, 1, NULL), -EIO);
	assert_int_equal(refcounts_decrement(&t.refs, 1, 1, NULL), -EIO);
	assert_int_equal(t.n_new, 0);
	rig_release(&t);
}

TEST(a_larger_table_takes_the_place_of_a_full_one)
{
	uint64_t old;
	struct rig t;

	small(&t);
	old = t.refs.place.off;
	assert_int_equal(rig_count(&t, old), 1);
	assert_int_equal(
		refcounts_add_block(&t.refs, t.refs.n_table * PER_BLOCK, NULL),
		0);
	assert_int_not_equal(t.moved.off, old);
	assert_int_equal(t.refs.place.off, t.moved.off);
	assert_int_equal(t.refs.n_table * 8, t.moved.clusters * SMALL);
	assert_int_equal(rig_count(&t, old), 0);
	assert_int_equal(t.old_off, old);
	for (uint64_t i = 0; i < t.moved.clusters; i++)
		assert_int_equal(rig_count(&t, t.moved.off + i * SMALL), 1);
	assert_int_equal(rig_read64(&t, t.moved.off), t.refs.table[0]);
	rig_release(&t);
}

TEST(the_table_is_durable_before_the_header_moves)
{
	const struct record_event *last;
	struct rig t;
	size_t n;

	small(&t);
	assert_int_equal(
		refcounts_add_block(&t.refs, t.refs.n_table * PER_BLOCK, NULL),
		0);
	/* The rig's header is one barrier; the one before is the table's. */
	n = record_n_events(t.log);
	last = record_event(t.log, n - 1);
	assert_int_equal(last->op, STORE_OP_FLUSH);
	assert_int_equal(record_event(t.log, n - 2)->op, STORE_OP_FLUSH);
	assert_int_equal(record_event(t.log, n - 3)->op, STORE_OP_WRITE);
	assert_int_equal(record_event(t.log, n - 3)->off, t.moved.off);
	rig_release(&t);
}

TEST(a_block_that_was_not_written_is_forgotten)
{
	struct rig t;

	small(&t);
	rig_fail(&t, STORE_OP_WRITE, 1);
	assert_int_equal(refcounts_add_block(&t.refs, 10 * PER_BLOCK, NULL),
			 -EIO);
	assert_int_equal(t.n_new, 1);
	assert_int_equal(t.n_old, 1);
	assert_int_equal(t.old_off, t.new_off);
	assert_int_equal(t.refs.broken, 0);
	assert_int_equal(refcounts_add_block(&t.refs, 10 * PER_BLOCK, NULL), 0);
	rig_release(&t);
}

static void expect_broken(enum store_op op, uint64_t nth, uint64_t cluster_idx)
{
	struct qcow2_error err = { 0 };
	struct rig t;

	small(&t);
	rig_fail(&t, op, nth);
	assert_int_equal(refcounts_add_block(&t.refs, cluster_idx, NULL), -EIO);
	assert_int_equal(fault_fired(&t.fault), 1);
	assert_int_equal(t.refs.broken, -EIO);
	assert_int_equal(refcounts_add_block(&t.refs, 20 * PER_BLOCK, &err),
			 -EIO);
	assert_int_equal(err.code, -EIO);
	rig_release(&t);
}

TEST(nothing_grows_after_a_barrier_that_failed)
{
	expect_broken(STORE_OP_FLUSH, 1, 10 * PER_BLOCK);
	expect_broken(STORE_OP_FLUSH, 1, PER_TABLE);
}

/* D5: also when other entries come meanwhile. */
TEST(an_entry_that_was_not_written_goes_with_the_next_commit)
{
	uint64_t first, second;
	struct rig t;

	small(&t);
	assert_int_equal(refcounts_add_block(&t.refs, 10 * PER_BLOCK, NULL), 0);
	rig_fail(&t, STORE_OP_WRITE, 1);
	assert_int_equal(commit_flush(&t.commit, NULL), -EIO);
	fault_arm(&t.fault, NULL);
	assert_int_equal(refcounts_add_block(&t.refs, 30 * PER_BLOCK, NULL), 0);
	assert_false(refcounts_is_clean(&t.refs));
	assert_int_equal(commit_flush(&t.commit, NULL), 0);
	assert_true(refcounts_is_clean(&t.refs));
	first = rig_read64(&t, t.header.refcount_table_off + 8 * 10);
	second = rig_read64(&t, t.header.refcount_table_off + 8 * 30);
	assert_int_equal(first, 10 * PER_BLOCK * SMALL);
	assert_int_equal(second, 30 * PER_BLOCK * SMALL);
	rig_release(&t);
}

/* The header is the caller's business; clusters written for it stay closed to
 * others until that is settled. */
TEST(a_table_that_the_header_did_not_get_is_left_behind)
{
	struct reftable_place old;
	uint64_t first;
	struct rig t;

	small(&t);
	old = t.refs.place;
	rig_fail(&t, STORE_OP_FLUSH, 2);
	assert_int_equal(refcounts_add_block(&t.refs, PER_TABLE, NULL), -EIO);
	fault_arm(&t.fault, NULL);
	first = t.moved.off + (uint64_t)t.moved.clusters * SMALL;
	assert_int_equal(t.refs.place.off, old.off);
	assert_int_equal(t.refs.n_table, PER_TABLE / PER_BLOCK);
	assert_int_equal(rig_count(&t, old.off), 1);
	assert_int_equal(refcounts_add_block(&t.refs, 2 * PER_TABLE, NULL), 0);
	assert_true(t.moved.off >= first);
	assert_int_equal(t.refs.place.off, t.moved.off);
	rig_release(&t);
}

TEST(what_nobody_guards_is_not_written)
{
	struct rig t;
	size_t from;

	small(&t);
	t.new_rc = -ENOMEM;
	from = record_n_events(t.log);
	assert_int_equal(refcounts_add_block(&t.refs, 10 * PER_BLOCK, NULL),
			 -ENOMEM);
	assert_int_equal(refcounts_add_block(&t.refs, PER_TABLE, NULL),
			 -ENOMEM);
	assert_int_equal(record_n_events(t.log), from);
	rig_release(&t);
}

TEST(a_table_beyond_its_limit_is_refused)
{
	struct qcow2_error err = { 0 };
	struct rig t;

	small(&t);
	assert_int_equal(refcounts_add_block(&t.refs, UINT64_C(1) << 40, &err),
			 -EFBIG);
	assert_non_null(strstr(err.message, "limit"));
	rig_release(&t);
}
