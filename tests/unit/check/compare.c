#include <stdlib.h>

#include "format/defect.h"
#include "rig.h"

TEST(a_run_of_leaks_is_one_finding_with_its_count)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint64_t off;
	struct outcome *o;

	rig_small(r);
	off = rig_alloc(r, 1000);
	rig_set_refcount(r, off + 600 * r->cs, 0);
	rig_set_refcount(r, off + 900 * r->cs, 2);
	rig_finish(r);
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.leaks, 999);
	assert_int_equal(o->result.corruptions, 0);
	assert_int_equal(o->n, 4);
	assert_int_equal(o->found[0].defect, DEFECT_REFCOUNT_LEAK);
	assert_int_equal(o->found[0].severity, QCOW2_SEVERITY_LEAK);
	assert_int_equal(o->found[0].host_off, off);
	assert_int_equal(o->found[1].host_off, off + 601 * r->cs);
	assert_int_equal(o->found[2].host_off, off + 900 * r->cs);
	assert_int_equal(o->found[3].host_off, off + 901 * r->cs);
	free(o);
	rig_free(r);
}

TEST(the_end_of_the_image_is_the_last_cluster_of_any_use)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint64_t end;
	struct outcome *o;

	rig_small(r);
	rig_finish(r);
	end = r->n_clusters * r->cs;
	assert_int_equal(store_truncate(r->store, end * 2, NULL), 0);
	o = check_rig(r);
	assert_int_equal(o->result.image_end_off, end);
	free(o);
	rig_poke_refcount(r, end + 3 * r->cs, 1);
	o = check_rig(r);
	assert_int_equal(o->result.image_end_off, end + 4 * r->cs);
	assert_int_equal(o->result.leaks, 1);
	free(o);
	rig_free(r);
}

TEST(refcounts_past_the_end_of_the_file_are_no_leaks)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint64_t end;
	struct outcome *o;

	rig_small(r);
	rig_finish(r);
	end = r->n_clusters * r->cs;
	rig_poke_refcount(r, end, 1);
	rig_poke_refcount(r, end + 700 * r->cs, 5);
	o = check_rig(r);
	assert_int_equal(o->n, 0);
	assert_int_equal(o->result.image_end_off, end);
	free(o);
	rig_free(r);
}

TEST(a_header_without_refcount_is_found)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_finish(r);
	rig_poke_refcount(r, 0, 0);
	EXPECT(r, { DEFECT_REFCOUNT_TOO_LOW, 0 });
	rig_poke_refcount(r, 0, 2);
	EXPECT(r, { DEFECT_REFCOUNT_LEAK, 0 });
	rig_free(r);
}

TEST(many_references_are_compared_exactly)
{
	struct rig *r = rig_new(
		&(struct rig_opts){ .refcount_order = 5, .has_order = true });
	struct small s = rig_small(r);

	for (uint32_t i = 3; i < 500; i++)
		rig_entry(r, s.l2, i, s.data[0], 0);
	rig_entry(r, s.l2, 0, s.data[0], 0);
	rig_set_refcount(r, s.data[0], 498);
	rig_finish(r);
	EXPECT_CLEAN(r);
	rig_poke_refcount(r, s.data[0], 497);
	EXPECT(r, { DEFECT_REFCOUNT_TOO_LOW, s.data[0] });
	rig_poke_refcount(r, s.data[0], UINT32_MAX);
	EXPECT(r, { DEFECT_REFCOUNT_LEAK, s.data[0] });
	rig_free(r);
}
