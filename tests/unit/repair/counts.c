#include "format/defect.h"
#include "mend.h"
#include "repair/copies.h"

struct base {
	struct rig *r;
	struct small s;
};

static struct base fresh(uint32_t order)
{
	struct base b = { .r = rig_new(&(struct rig_opts){
				  .refcount_order = order,
				  .has_order = true,
			  }) };

	b.s = rig_small(b.r);
	rig_finish(b.r);
	return b;
}

TEST(every_width_is_raised_and_lowered)
{
	for (uint32_t order = 0; order <= REFCOUNT_ORDER_MAX; order++) {
		struct base b = fresh(order);
		uint64_t unused = b.r->n_clusters * b.r->cs;
		struct mended m;

		assert_int_equal(
			store_truncate(b.r->store, unused + 4 * b.r->cs, NULL),
			0);
		rig_poke_refcount(b.r, b.s.data[1], 0);
		rig_poke_refcount(b.r, unused, 1);
		if (order > 0)
			rig_poke_refcount(b.r, b.s.data[2],
					  b.r->geo.refcount_max);
		m = mend(b.r, REPAIR_ALL);
		assert_int_equal(m.result.corruptions_fixed, 1);
		assert_int_equal(m.result.leaks_fixed, order ? 2 : 1);
		assert_int_equal(mended_count(&m, DEFECT_REFCOUNT_TOO_LOW,
					      QCOW2_ACTION_REPAIRED),
				 1);
		rig_free(b.r);
	}
}

/* R26: damage other than leaks stays, and nothing is made worse. */
TEST(repairing_leaks_leaves_the_rest)
{
	struct base b = fresh(4);
	struct mended m;

	rig_poke_refcount(b.r, b.s.data[0], 0);
	rig_poke_refcount(b.r, b.s.data[1], 9);
	m = mend_partly(b.r, REPAIR_LEAKS, 2);
	assert_int_equal(m.result.leaks_fixed, 1);
	assert_int_equal(m.result.corruptions_fixed, 0);
	EXPECT(b.r, { DEFECT_REFCOUNT_TOO_LOW, b.s.data[0] },
	       { DEFECT_COPIED_FLAG, b.s.l2 });
	rig_free(b.r);
}

/* R26: a leak that is repaired changes what COPIED has to say. */
TEST(flags_follow_repaired_leaks)
{
	struct base b = fresh(4);
	struct mended m;

	rig_poke_refcount(b.r, b.s.data[0], 2);
	rig_entry(b.r, b.s.l2, 0, b.s.data[0], 0);
	m = mend(b.r, REPAIR_LEAKS);
	assert_int_equal(m.result.leaks_fixed, 1);
	assert_int_equal(m.result.corruptions_fixed, 1);
	rig_free(b.r);
}

TEST(shared_data_is_counted_and_loses_its_flags)
{
	struct base b = fresh(4);
	struct mended m;

	rig_entry(b.r, b.s.l2, 1, b.s.data[0] | ENTRY_COPIED, 0);
	m = mend(b.r, REPAIR_ALL);
	assert_int_equal(m.result.corruptions_fixed, 3);
	assert_int_equal(m.result.leaks_fixed, 1);
	assert_int_equal(rig_get64(b.r, b.s.l2), b.s.data[0]);
	assert_int_equal(rig_get64(b.r, b.s.l2 + 8), b.s.data[0]);
	rig_free(b.r);
}

/* S9: one bit cannot count two, and two bits can. */
TEST(refcounts_become_as_wide_as_they_must)
{
	static const struct {
		uint32_t n, bits;
	} widths[] = { { 2, 2 }, { 3, 2 }, { 4, 4 }, { 16, 8 }, { 257, 16 } };

	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		struct base b = fresh(0);
		struct mended m;

		for (uint32_t k = 0; k < widths[i].n; k++)
			rig_entry(b.r, b.s.l2, k ? k + 2 : 0, b.s.data[0], 0);
		m = mend(b.r, REPAIR_ALL);
		assert_int_equal(mended_count(&m, DEFECT_REFCOUNT_TOO_LOW,
					      QCOW2_ACTION_REPAIRED),
				 1);
		assert_int_equal(
			1u << (rig_get64(b.r, HEADER_OFF_REFCOUNT_ORDER) >> 32),
			widths[i].bits);
		assert_int_equal(rig_get64(b.r, b.s.l2), b.s.data[0]);
		rig_free(b.r);
	}
}

/* S9: version 2 has one width only: the repair touches nothing that would need
 * another. */
TEST(what_no_refcount_can_say_is_left)
{
	struct rig *r = rig_new(&(struct rig_opts){
		.version = 2, .size = 512 * UINT64_C(512) * 4096 });
	struct small s = rig_small(r);
	struct bytes before;
	struct mended m;

	for (uint32_t i = 0; i < 512; i++)
		rig_entry(r, s.l2, i, s.data[0], 0);
	for (uint32_t i = 0; i < 512; i++)
		r->l1[i] = s.l2;
	rig_set_refcount(r, s.l2, 512);
	rig_set_refcount(r, s.data[0], 65535);
	rig_set_refcount(r, s.data[1], 0);
	rig_set_refcount(r, s.data[2], 0);
	rig_finish(r);
	before = bytes_of(r->store);
	m = mend_store(r->store, REPAIR_ALL);
	assert_int_equal(m.rc, 0);
	assert_int_equal(m.n, 1);
	assert_int_equal(
		mended_count(&m, DEFECT_REFCOUNT_TOO_LOW, QCOW2_ACTION_FAILED),
		1);
	assert_true(bytes_equal(before, bytes_of(r->store)));
	rig_free(r);
}

/* S6 */
TEST(tables_shared_with_a_snapshot_are_counted)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	struct mended m;

	rig_snapshot(r, &s);
	rig_finish(r);
	rig_poke_refcount(r, s.l2, 1);
	rig_poke_refcount(r, s.data[0], 1);
	m = mend(r, REPAIR_ALL);
	assert_int_equal(m.result.corruptions_fixed, 2);
	rig_free(r);
}

/* The dirty bit goes with the reason for it, and the corrupt bit. */
TEST(the_bits_go_last)
{
	struct base b = fresh(4);

	rig_put64(b.r, HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
	rig_poke_refcount(b.r, b.s.data[0], 0);
	mend(b.r, REPAIR_REFCOUNTS);
	assert_int_equal(rig_get64(b.r, HEADER_OFF_INCOMPAT), 0);

	/* The bit may warn of the damage that is left. */
	rig_put64(b.r, HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
	rig_entry(b.r, b.s.l2, 5, (UINT64_C(1) << 40), 0);
	mend_partly(b.r, REPAIR_ALL, 1);
	assert_int_equal(rig_get64(b.r, HEADER_OFF_INCOMPAT),
			 INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
	rig_free(b.r);
}

/* A bit whose promise nobody knows does not survive a change. */
TEST(unknown_autoclear_bits_are_cleared)
{
	struct base b = fresh(4);

	rig_put64(b.r, HEADER_OFF_AUTOCLEAR, UINT64_C(1) << 40);
	rig_poke_refcount(b.r, b.s.data[0], 0);
	mend(b.r, REPAIR_ALL);
	assert_int_equal(rig_get64(b.r, HEADER_OFF_AUTOCLEAR), 0);
	rig_free(b.r);
}

TEST(a_clean_image_is_not_written_to)
{
	struct base b = fresh(4);
	struct bytes before = bytes_of(b.r->store);
	struct mended m = mend(b.r, REPAIR_ALL);

	assert_int_equal(m.n, 0);
	assert_true(bytes_equal(before, bytes_of(b.r->store)));
	rig_free(b.r);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(copies_that_are_not_as_they_should_be_are_found)
{
	uint64_t count = 1;
	struct cluster_copy list[] = { { 1, 2, 0, 1, 9 }, { 4, 1, 1, 0, 0 } };
	struct copies c = { list, 2, 1, &count };

	copies_validate(&c);
	ASSERT_ABORTS(c.all = NULL; copies_validate(&c));
	ASSERT_ABORTS(list[1].from = 1; copies_validate(&c));
	ASSERT_ABORTS(list[1].n_own = 2; copies_validate(&c));
	ASSERT_ABORTS(list[0].n_moved = 3; copies_validate(&c));
	ASSERT_ABORTS(list[1].to = 9; copies_validate(&c));
	ASSERT_ABORTS(c.n_wanted = 2; copies_validate(&c));
	ASSERT_ABORTS(c.counts = NULL; copies_validate(&c));
}
