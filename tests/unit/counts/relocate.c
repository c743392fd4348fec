/*
 * Refcount metadata that moves: the messages to the overlap guard.
 */
#include "counts/relocate.h"

#include "rig.h"

typedef int relocate_fn(struct rig *t, uint64_t host_off);

static int move_block(struct rig *t, uint64_t host_off)
{
	return refcounts_relocate_block(&t->refs, 0, host_off, NULL);
}

static int move_table(struct rig *t, uint64_t host_off)
{
	return refcounts_relocate_table(&t->refs, host_off, NULL);
}

/* Counts from here on; the place is taken durably. */
static void begin(struct rig *t, uint64_t *place)
{
	rig_init(t);
	*place = rig_claim(t, 1).host_off;
	assert_int_equal(commit_flush(&t->commit, NULL), 0);
	t->n_new = 0;
	t->n_old = 0;
}

static void is_told_of_both(relocate_fn *move, uint64_t (*where)(struct rig *))
{
	uint64_t place, old;
	struct rig t;

	begin(&t, &place);
	old = where(&t);
	assert_int_equal(move(&t, place), 0);
	assert_int_equal(where(&t), place);
	assert_int_equal(t.n_new, 1);
	assert_int_equal(t.new_off, place);
	assert_int_equal(t.n_old, 1);
	assert_int_equal(t.old_off, old);
	rig_release(&t);
}

/* Calls of @op fail: nobody may then believe that the copy is metadata. */
static void failed_copy(relocate_fn *move, uint64_t (*where)(struct rig *),
			enum store_op op)
{
	uint64_t place, old;
	struct rig t;

	begin(&t, &place);
	old = where(&t);
	rig_fail(&t, op, 1);
	assert_int_equal(move(&t, place), -EIO);
	assert_int_equal(where(&t), old);
	assert_int_equal(t.n_new, 1);
	assert_int_equal(t.n_old, 1);
	assert_int_equal(t.old_off, place);
	assert_int_equal(rig_count(&t, place), 1);
	rig_release(&t);
}

static uint64_t block_place(struct rig *t)
{
	return t->refs.table[0];
}

static uint64_t table_place(struct rig *t)
{
	return t->refs.place.off;
}

TEST(the_new_place_is_metadata_and_the_old_one_no_more)
{
	is_told_of_both(move_block, block_place);
	is_told_of_both(move_table, table_place);
}

TEST(a_copy_that_failed_is_no_metadata)
{
	static const enum store_op ops[] = { STORE_OP_READ, STORE_OP_WRITE,
					     STORE_OP_FLUSH };

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		failed_copy(move_block, block_place, ops[i]);
		failed_copy(move_table, table_place, ops[i]);
	}
}

/* The entry may have reached the disk all the same. */
TEST(an_entry_that_failed_leaves_both_blocks_metadata)
{
	uint64_t place, old;
	struct rig t;

	begin(&t, &place);
	old = block_place(&t);
	rig_fail(&t, STORE_OP_WRITE, 2);
	assert_int_equal(move_block(&t, place), -EIO);
	assert_int_equal(block_place(&t), old);
	assert_int_equal(t.n_new, 1);
	assert_int_equal(t.n_old, 0);
	rig_release(&t);
}
