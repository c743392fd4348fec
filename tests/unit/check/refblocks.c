#include <stdlib.h>

#include "check/context.h"
#include "format/defect.h"
#include "format/refcount.h"
#include "rig.h"

/* More clusters than one refcount block counts: 64 of 512 bytes. */
static struct rig *many_blocks(struct small *s)
{
	struct rig *r = rig_new(&(struct rig_opts){
		.cluster_bits = 9, .refcount_order = 6, .has_order = true });

	*s = rig_small(r);
	for (uint32_t i = 3; i < 64; i++)
		rig_data(r, s->l2, i);
	for (uint32_t idx = 1; idx < 6; idx++) {
		uint64_t l2 = rig_l2(r, idx);

		for (uint32_t i = 0; i < 64; i++)
			rig_data(r, l2, i);
	}
	rig_finish(r);
	return r;
}

TEST(several_blocks_are_all_read)
{
	struct small s;
	struct rig *r = many_blocks(&s);

	EXPECT_CLEAN(r);
	rig_poke_refcount(r, 300 * r->cs, 9);
	EXPECT(r, { DEFECT_REFCOUNT_LEAK, 300 * r->cs },
	       { DEFECT_COPIED_FLAG, ANYWHERE });
	rig_free(r);
}

TEST(reserved_bits_in_the_table_are_found)
{
	struct small s;
	struct rig *r = many_blocks(&s);

	rig_put64(r, r->table_off + 8, rig_get64(r, r->table_off + 8) | 4);
	EXPECT(r, { DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED, r->table_off + 8 });
	rig_free(r);
}

TEST(unaligned_blocks_leave_their_clusters_unchecked)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct outcome *o;

	rig_small(r);
	rig_finish(r);
	rig_put64(r, r->table_off, r->block_off + 512);
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.corruptions, 1);
	assert_int_equal(o->result.leaks, 0);
	assert_int_equal(o->result.check_errors, r->n_clusters);
	assert_int_equal(o->found[0].defect,
			 DEFECT_REFCOUNT_TABLE_ENTRY_UNALIGNED);
	assert_int_equal(o->found[0].host_off, r->table_off);
	free(o);
	rig_free(r);
}

TEST(a_block_past_the_end_counts_nothing)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_finish(r);
	rig_put64(r, r->table_off, UINT64_C(1) << 40);
	/* Header, refcount table and L1 lie in this order behind each other,
	 * and the block's own cluster has no reference left. */
	EXPECT(r, { DEFECT_REFCOUNT_BLOCK_BEYOND_EOF, r->table_off },
	       { DEFECT_REFCOUNT_TOO_LOW, 0 },
	       { DEFECT_REFCOUNT_TOO_LOW, r->l1_off },
	       { DEFECT_REFCOUNT_TOO_LOW, r->table_off });
	rig_free(r);
}

TEST(a_shared_block_is_found_and_not_believed)
{
	struct small s;
	struct rig *r = many_blocks(&s);
	struct outcome *o;

	/* The entry of block 2 points to block 1. */
	rig_put64(r, r->table_off + 16, rig_get64(r, r->table_off + 8));
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->found[0].defect, DEFECT_REFCOUNT_BLOCK_SHARED);
	assert_int_equal(o->found[0].host_off, r->table_off + 16);
	assert_int_equal(o->result.check_errors, 64);
	/* The entry itself, and block 1 with two references. */
	assert_int_equal(o->result.corruptions, 2);
	free(o);
	rig_free(r);
}

TEST(a_block_in_a_table_is_an_overlap)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_finish(r);
	rig_put64(r, r->table_off + 8, r->l1_off);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, r->l1_off });
	rig_free(r);
}

TEST(a_hole_in_the_table_means_refcount_zero)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_finish(r);
	rig_put64(r, r->table_off, 0);
	EXPECT(r, { DEFECT_REFCOUNT_TOO_LOW, 0 },
	       { DEFECT_REFCOUNT_TOO_LOW, r->l1_off },
	       { DEFECT_REFCOUNT_TOO_LOW, r->table_off });
	rig_free(r);
}

TEST(the_largest_refcounts_are_read_as_they_are)
{
	struct outcome *o;

	for (uint32_t order = 0; order <= 6; order++) {
		struct rig *r = rig_new(&(struct rig_opts){
			.refcount_order = order, .has_order = true });
		struct small s = rig_small(r);

		rig_finish(r);
		EXPECT_CLEAN(r);
		rig_poke_refcount(r, s.data[1], r->geo.refcount_max);
		o = check_rig(r);
		assert_int_equal(o->result.leaks, order ? 1 : 0);
		assert_int_equal(o->result.corruptions, order ? 1 : 0);
		free(o);
		rig_free(r);
	}
}

/* ---- Their validator ----------------------------------------------------- */

TEST(blocks_that_cannot_be_where_they_are_said_to_be_are_found)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct small s;
	struct rig *r = many_blocks(&s);
	struct check c;
	uint64_t *offs;

	check_begin(&c, r->store, NULL, &result);
	assert_int_equal(check_run(&c, NULL), 0);
	offs = c.refblocks.offs;
	assert_true(c.refblocks.n > 2);
	refblocks_validate(&c);
	ASSERT_ABORTS(c.refblocks.offs = NULL; refblocks_validate(&c));
	ASSERT_ABORTS(c.file_size /= 2; refblocks_validate(&c));
	ASSERT_ABORTS(offs[0] = 1; refblocks_validate(&c));
	ASSERT_ABORTS(offs[1] = c.file_size; refblocks_validate(&c));
	offs[1] = REFBLOCK_UNKNOWN;
	refblocks_validate(&c);
	check_end(&c);
	rig_free(r);
}
