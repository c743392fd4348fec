#include <stdlib.h>

#include "format/defect.h"
#include "rig.h"

#define RESERVED_BIT (UINT64_C(1) << 60)

static struct rig *fresh(struct small *s)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	*s = rig_small(r);
	rig_finish(r);
	return r;
}

TEST(reserved_bits_are_found_and_the_table_is_followed)
{
	struct small s;
	struct rig *r = fresh(&s);

	rig_put64(r, r->l1_off, s.l2 | ENTRY_COPIED | RESERVED_BIT);
	EXPECT(r, { DEFECT_L1_ENTRY_RESERVED, r->l1_off });
	rig_put64(r, r->l1_off, s.l2 | ENTRY_COPIED | 1);
	EXPECT(r, { DEFECT_L1_ENTRY_RESERVED, r->l1_off });
	rig_free(r);
}

TEST(unaligned_entries_are_found_and_not_followed)
{
	struct small s;
	struct rig *r = fresh(&s);

	/* They cover the table and the cluster after it, once each. */
	rig_put64(r, r->l1_off, (s.l2 + 512) | ENTRY_COPIED);
	EXPECT(r, { DEFECT_L1_ENTRY_UNALIGNED, r->l1_off },
	       { DEFECT_REFCOUNT_LEAK, s.data[1] });
	rig_free(r);
}

TEST(entries_past_the_end_are_found)
{
	struct small s;
	struct rig *r = fresh(&s);

	rig_put64(r, r->l1_off, (UINT64_C(1) << 40) | ENTRY_COPIED);
	EXPECT(r, { DEFECT_L1_ENTRY_BEYOND_EOF, r->l1_off },
	       { DEFECT_COPIED_FLAG, r->l1_off },
	       { DEFECT_REFCOUNT_LEAK, s.l2 });
	rig_free(r);
}

TEST(copied_must_mean_refcount_one)
{
	struct small s;
	struct rig *r = fresh(&s);

	rig_put64(r, r->l1_off, s.l2);
	EXPECT(r, { DEFECT_COPIED_FLAG, r->l1_off });
	rig_put64(r, r->l1_off, s.l2 | ENTRY_COPIED);
	rig_poke_refcount(r, s.l2, 0);
	EXPECT(r, { DEFECT_COPIED_FLAG, r->l1_off },
	       { DEFECT_REFCOUNT_TOO_LOW, s.l2 });
	rig_poke_refcount(r, s.l2, 2);
	EXPECT(r, { DEFECT_COPIED_FLAG, r->l1_off },
	       { DEFECT_REFCOUNT_LEAK, s.l2 });
	rig_free(r);
}

TEST(copied_without_a_table_is_found)
{
	struct small s;
	struct rig *r = fresh(&s);

	rig_put64(r, r->l1_off + 8, ENTRY_COPIED);
	EXPECT(r, { DEFECT_COPIED_FLAG, r->l1_off + 8 });
	rig_free(r);
}

TEST(two_entries_with_one_table_need_two_refcounts)
{
	struct small s;
	struct rig *r = fresh(&s);
	struct outcome *o;

	rig_put64(r, r->l1_off + 8, s.l2 | ENTRY_COPIED);
	EXPECT(r, { DEFECT_REFCOUNT_TOO_LOW, s.l2 },
	       { DEFECT_REFCOUNT_TOO_LOW, s.data[0] });
	/* With right refcounts and flags the image is clean, as each write
	 * copies first. */
	rig_put64(r, r->l1_off, s.l2);
	rig_put64(r, r->l1_off + 8, s.l2);
	rig_poke_refcount(r, s.l2, 2);
	for (uint32_t i = 0; i < 3; i++) {
		rig_poke_refcount(r, s.data[i], 2);
		rig_entry(r, s.l2, i, s.data[i], 0);
	}
	EXPECT_CLEAN(r);
	o = check_rig(r);
	assert_int_equal(o->result.allocated_clusters, 6);
	free(o);
	rig_free(r);
}

TEST(a_table_in_other_metadata_is_not_followed)
{
	struct small s;
	struct rig *r = fresh(&s);

	rig_put64(r, r->l1_off + 8, r->l1_off | ENTRY_COPIED);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, r->l1_off });
	rig_put64(r, r->l1_off + 8, r->table_off | ENTRY_COPIED);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, r->table_off });
	rig_free(r);
}
