/*
 * Two claims to one cluster, through whole images: each pair is found at the
 * cluster they share.
 */
#include "check/context.h"
#include "format/defect.h"
#include "rig.h"

TEST(guest_data_in_the_header_is_an_overlap)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 12 });
	struct small s = rig_small(r);

	rig_finish(r);
	/* Offset 0 cannot be written as a pointer, but an odd one can: it
	 * covers the header cluster and the next. */
	rig_entry(r, s.l2, 0, 512 | ENTRY_COPIED, 0);
	EXPECT(r, { DEFECT_L2_ENTRY_UNALIGNED, s.l2 },
	       { DEFECT_CLUSTER_OVERLAP, 0 }, { DEFECT_CLUSTER_OVERLAP, s.l2 },
	       { DEFECT_REFCOUNT_LEAK, s.data[0] });
	rig_free(r);
}

static void overlap_with(uint64_t (*victim)(struct rig *, struct small *))
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	uint64_t off;

	rig_bitmap(r, "b");
	rig_snapshot(r, &s);
	rig_finish(r);
	off = victim(r, &s);
	rig_entry(r, s.l2, 100, off, 0);
	rig_poke_refcount(r, off, 3);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, off });
	/* Right refcounts do not make it right, wrong ones not worse. */
	rig_poke_refcount(r, off, 2);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, off });
	rig_free(r);
}

static uint64_t l1_of(struct rig *r, struct small *s)
{
	(void)s;
	return r->l1_off;
}

static uint64_t table_of(struct rig *r, struct small *s)
{
	(void)s;
	return r->table_off;
}

static uint64_t snapshots_of(struct rig *r, struct small *s)
{
	(void)s;
	return r->header.snapshots_off;
}

static uint64_t snapshot_l1_of(struct rig *r, struct small *s)
{
	(void)s;
	return rig_get64(r, r->header.snapshots_off);
}

static uint64_t directory_of(struct rig *r, struct small *s)
{
	(void)s;
	return r->bitmaps.directory_off;
}

static uint64_t bitmap_table_of(struct rig *r, struct small *s)
{
	(void)s;
	return rig_get64(r, r->bitmaps.directory_off);
}

static uint64_t bitmap_data_of(struct rig *r, struct small *s)
{
	return rig_get64(r, bitmap_table_of(r, s));
}

TEST(guest_data_in_any_metadata_is_an_overlap)
{
	overlap_with(l1_of);
	overlap_with(table_of);
	overlap_with(snapshots_of);
	overlap_with(snapshot_l1_of);
	overlap_with(directory_of);
	overlap_with(bitmap_table_of);
	overlap_with(bitmap_data_of);
}

TEST(guest_data_in_a_refcount_block_is_an_overlap)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);

	rig_finish(r);
	rig_poke_refcount(r, r->block_off, 2);
	rig_entry(r, s.l2, 100, r->block_off, 0);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, r->block_off });
	rig_free(r);
}

TEST(an_l2_table_that_maps_itself_is_an_overlap)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);

	rig_finish(r);
	rig_entry(r, s.l2, 7, s.l2 | ENTRY_COPIED, 0);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, s.l2 });
	rig_free(r);
}

TEST(two_tables_in_one_place_are_one_overlap)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 9,
						    .size = 100 * 64 * 512 });
	struct small s = rig_small(r);

	rig_snapshot(r, &s);
	rig_finish(r);
	rig_put64(r, r->header.snapshots_off, r->l1_off);
	/* Both have two clusters.  The second table is not followed. */
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, r->l1_off });
	rig_free(r);
}

TEST(nothing_is_a_claim_to_no_cluster)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct use_claim claim = { .use = USE_DATA,
				   .n = 1,
				   .beyond = DEFECT_L2_ENTRY_BEYOND_EOF };
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
	struct check c;

	rig_small(r);
	rig_finish(r);
	check_begin(&c, r->store, NULL, &result);
	assert_int_equal(check_open(&c, 0, NULL), 0);
	assert_int_equal(claim_clusters(&c, &claim, NULL), 0);
	claim.off = r->cs + 1;
	assert_int_equal(claim_clusters(&c, &claim, NULL), 0);
	assert_int_equal(refs_get(&c.refs, 0), 0);
	assert_int_equal(refs_get(&c.refs, 1), 0);
	claim.off = UINT64_MAX;
	assert_int_equal(claim_clusters(&c, &claim, NULL), 1);
	assert_int_equal(c.report.result->corruptions, 1);
	check_end(&c);
	rig_free(r);
}
