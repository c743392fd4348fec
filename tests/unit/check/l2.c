#include <stdlib.h>

#include "format/defect.h"
#include "rig.h"

#define FAR (UINT64_C(1) << 40)

static struct rig *fresh(const struct rig_opts *opts, struct small *s)
{
	struct rig *r = rig_new(opts);

	*s = rig_small(r);
	rig_finish(r);
	return r;
}

/* One entry of the default image replaced. */
static struct rig *with_entry(uint64_t desc, struct small *s)
{
	struct rig *r = fresh(&(struct rig_opts){ 0 }, s);

	rig_entry(r, s->l2, 5, desc, 0);
	return r;
}

#define AT_5(s) ((s).l2 + 5 * 8)

TEST(reserved_bits_are_found)
{
	struct small s;
	struct rig *r = fresh(&(struct rig_opts){ 0 }, &s);

	rig_entry(r, s.l2, 1, s.data[1] | ENTRY_COPIED | 2, 0);
	EXPECT(r, { DEFECT_L2_ENTRY_RESERVED, s.l2 + 8 });
	rig_free(r);
}

TEST(unaligned_clusters_are_found)
{
	struct small s;
	struct rig *r = fresh(&(struct rig_opts){ 0 }, &s);

	rig_entry(r, s.l2, 1, (s.data[1] + 512) | ENTRY_COPIED, 0);
	EXPECT(r, { DEFECT_L2_ENTRY_UNALIGNED, s.l2 + 8 },
	       { DEFECT_REFCOUNT_TOO_LOW, s.data[2] });
	rig_free(r);
}

TEST(clusters_past_the_end_are_found)
{
	struct small s;
	struct rig *r = with_entry(FAR, &s);

	EXPECT(r, { DEFECT_L2_ENTRY_BEYOND_EOF, AT_5(s) });
	rig_free(r);
	r = with_entry(FAR | ENTRY_COPIED, &s);
	EXPECT(r, { DEFECT_L2_ENTRY_BEYOND_EOF, AT_5(s) },
	       { DEFECT_COPIED_FLAG, AT_5(s) });
	rig_free(r);
}

TEST(a_last_cluster_that_is_cut_off_is_fine)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	uint64_t end;

	rig_finish(r);
	end = r->n_clusters * r->cs;
	rig_entry(r, s.l2, 9, end | ENTRY_COPIED, 0);
	rig_poke_refcount(r, end, 1);
	assert_int_equal(store_truncate(r->store, end + 1, NULL), 0);
	EXPECT_CLEAN(r);
	assert_int_equal(store_truncate(r->store, end, NULL), 0);
	EXPECT(r, { DEFECT_L2_ENTRY_BEYOND_EOF, s.l2 + 72 });
	rig_free(r);
}

TEST(the_zero_flag_of_version_3_is_found_in_version_2)
{
	struct small s;
	struct rig *r = fresh(&(struct rig_opts){ .version = 2 }, &s);

	rig_entry(r, s.l2, 0, s.data[0] | ENTRY_COPIED | L2_ZERO, 0);
	EXPECT(r, { DEFECT_L2_ENTRY_ZERO_V2, s.l2 });
	rig_free(r);
}

TEST(zero_clusters_are_fine_in_version_3)
{
	struct small s;
	struct rig *r = with_entry(L2_ZERO, &s);
	struct outcome *o;

	rig_entry(r, s.l2, 0, s.data[0] | ENTRY_COPIED | L2_ZERO, 0);
	EXPECT_CLEAN(r);
	o = check_rig(r);
	assert_int_equal(o->result.allocated_clusters, 3);
	free(o);
	rig_free(r);
}

TEST(copied_without_offset_is_found)
{
	struct small s;
	struct rig *r = with_entry(ENTRY_COPIED, &s);

	EXPECT(r, { DEFECT_L2_ENTRY_COPIED_WITHOUT_OFFSET, AT_5(s) });
	rig_free(r);
}

TEST(copied_must_mean_refcount_one)
{
	struct small s;
	struct rig *r = fresh(&(struct rig_opts){ 0 }, &s);

	rig_entry(r, s.l2, 1, s.data[1], 0);
	EXPECT(r, { DEFECT_COPIED_FLAG, s.l2 + 8 });
	rig_entry(r, s.l2, 1, s.data[1] | ENTRY_COPIED, 0);
	rig_poke_refcount(r, s.data[1], 0);
	EXPECT(r, { DEFECT_COPIED_FLAG, s.l2 + 8 },
	       { DEFECT_REFCOUNT_TOO_LOW, s.data[1] });
	rig_poke_refcount(r, s.data[1], 2);
	EXPECT(r, { DEFECT_COPIED_FLAG, s.l2 + 8 },
	       { DEFECT_REFCOUNT_LEAK, s.data[1] });
	rig_free(r);
}

TEST(one_cluster_in_two_entries_needs_two_refcounts)
{
	struct small s;
	struct rig *r = with_entry(0, &s);

	rig_entry(r, s.l2, 5, s.data[1] | ENTRY_COPIED, 0);
	EXPECT(r, { DEFECT_REFCOUNT_TOO_LOW, s.data[1] });
	rig_free(r);
}

TEST(flags_of_snapshots_mean_nothing)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);

	rig_snapshot(r, &s);
	rig_finish(r);
	/* The active disk lets go of the table, the snapshot alone has it. */
	rig_put64(r, r->l1_off, 0);
	rig_poke_refcount(r, s.l2, 1);
	for (uint32_t i = 0; i < 3; i++)
		rig_poke_refcount(r, s.data[i], 1);
	EXPECT_CLEAN(r);
	rig_free(r);
}

/* A descriptor of one sector at @off. */
static uint64_t compressed(const struct rig *r, uint64_t off, uint32_t len)
{
	uint64_t desc;

	assert_true(compressed_encode(&r->geo, off, len, &desc));
	return desc;
}

TEST(compressed_clusters_share_a_host_cluster)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	uint64_t off = rig_alloc(r, 2);
	struct outcome *o;

	rig_entry(r, s.l2, 10, compressed(r, off + 100, 700), 0);
	rig_entry(r, s.l2, 11, compressed(r, off + 800, 900), 0);
	rig_entry(r, s.l2, 12, compressed(r, off + r->cs - 10, 700), 0);
	rig_set_refcount(r, off, 3);
	rig_finish(r);
	EXPECT_CLEAN(r);
	o = check_rig(r);
	assert_int_equal(o->result.allocated_clusters, 6);
	assert_int_equal(o->result.compressed_clusters, 3);
	assert_int_equal(o->result.fragmented_clusters, 3);
	free(o);
	rig_poke_refcount(r, off, 2);
	EXPECT(r, { DEFECT_REFCOUNT_TOO_LOW, off });
	rig_free(r);
}

TEST(compressed_data_past_the_end_is_found)
{
	struct small s;
	struct rig *r = with_entry(0, &s);

	rig_entry(r, s.l2, 5, compressed(r, FAR, 100), 0);
	EXPECT(r, { DEFECT_COMPRESSED_BEYOND_EOF, AT_5(s) });
	rig_free(r);
}

/* S8: the part that the file has is read, so it is counted. */
TEST(sectors_past_the_end_are_found_and_the_rest_is_counted)
{
	struct small s;
	struct rig *r = with_entry(0, &s);
	uint64_t last = (r->n_clusters - 1) * r->cs;
	uint64_t spare;

	/* Sectors up to one cluster and one sector past the end. */
	spare = compressed(r, last + 512, (uint32_t)r->cs);
	rig_entry(r, s.l2, 5, spare + (UINT64_C(8) << r->geo.csize_shift), 0);
	EXPECT(r, { DEFECT_COMPRESSED_BEYOND_EOF, AT_5(s) },
	       { DEFECT_CLUSTER_OVERLAP, last });
	rig_free(r);
}

TEST(compressed_data_in_the_header_is_found)
{
	struct small s;
	struct rig *r = with_entry(L2_COMPRESSED, &s);

	EXPECT(r, { DEFECT_COMPRESSED_OFFSET, AT_5(s) });
	rig_free(r);
}

TEST(compressed_data_in_a_table_is_an_overlap)
{
	struct small s;
	struct rig *r = with_entry(0, &s);

	rig_entry(r, s.l2, 5, compressed(r, r->l1_off + 20, 100), 0);
	EXPECT(r, { DEFECT_CLUSTER_OVERLAP, r->l1_off });
	rig_free(r);
}

TEST(copied_compressed_clusters_are_found)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	uint64_t off = rig_alloc(r, 1);

	rig_entry(r, s.l2, 5, compressed(r, off, 100) | ENTRY_COPIED, 0);
	rig_finish(r);
	EXPECT(r, { DEFECT_COPIED_FLAG, AT_5(s) });
	rig_free(r);
}

static const struct rig_opts with_subclusters = {
	.cluster_bits = 14,
	.incompatible_features = INCOMPAT_EXTENDED_L2,
};

TEST(contradictions_of_subclusters_are_found)
{
	struct small s;
	struct rig *r = fresh(&with_subclusters, &s);

	EXPECT_CLEAN(r);
	rig_entry(r, s.l2, 1, s.data[1] | ENTRY_COPIED,
		  SUB_ALLOC(4) | SUB_ZERO(4));
	EXPECT(r, { DEFECT_L2_BITMAP_CONFLICT, s.l2 + 16 });
	rig_entry(r, s.l2, 1, s.data[1] | ENTRY_COPIED, SUB_ALLOC(4));
	rig_entry(r, s.l2, 30, 0, SUB_ALLOC(3));
	EXPECT(r, { DEFECT_L2_BITMAP_WITHOUT_OFFSET, s.l2 + 30 * 16 });
	rig_entry(r, s.l2, 30, 0, SUB_ALL_ZERO);
	EXPECT_CLEAN(r);
	rig_entry(r, s.l2, 1, s.data[1] | ENTRY_COPIED | L2_ZERO, 0);
	EXPECT(r, { DEFECT_L2_ENTRY_RESERVED, s.l2 + 16 });
	rig_free(r);
}

TEST(a_bitmap_of_a_compressed_cluster_is_found)
{
	struct rig *r = rig_new(&with_subclusters);
	struct small s = rig_small(r);
	uint64_t off = rig_alloc(r, 1);

	rig_entry(r, s.l2, 5, compressed(r, off, 100), 1);
	rig_finish(r);
	EXPECT(r, { DEFECT_L2_BITMAP_COMPRESSED, s.l2 + 5 * 16 });
	rig_free(r);
}

static struct rig *with_data_file(uint64_t *l2)
{
	struct rig *r = rig_new(&(struct rig_opts){
		.incompatible_features = INCOMPAT_DATA_FILE });

	r->data_file = "data";
	*l2 = rig_l2(r, 0);
	for (uint32_t i = 0; i < 3; i++)
		rig_entry(r, *l2, i, i * r->cs | ENTRY_COPIED, 0);
	rig_finish(r);
	return r;
}

TEST(clusters_of_a_data_file_are_not_of_the_image)
{
	uint64_t l2;
	struct rig *r = with_data_file(&l2);
	struct outcome *o;

	EXPECT_CLEAN(r);
	rig_entry(r, l2, 511, 511 * r->cs | ENTRY_COPIED, 0);
	EXPECT_CLEAN(r);
	o = check_rig(r);
	assert_int_equal(o->result.allocated_clusters, 4);
	assert_int_equal(o->result.fragmented_clusters, 1);
	free(o);
	rig_free(r);
}

TEST(entries_of_a_data_file_have_their_rules)
{
	uint64_t l2;
	struct rig *r = with_data_file(&l2);

	rig_entry(r, l2, 1, r->cs, 0);
	EXPECT(r, { DEFECT_COPIED_FLAG, l2 + 8 });
	rig_entry(r, l2, 1, (5 * r->cs) | ENTRY_COPIED, 0);
	EXPECT(r, { DEFECT_L2_ENTRY_DATA_FILE_OFFSET, l2 + 8 });
	rig_entry(r, l2, 1, L2_COMPRESSED | r->cs, 0);
	EXPECT(r, { DEFECT_L2_ENTRY_COMPRESSED_DATA_FILE, l2 + 8 });
	rig_free(r);
}

TEST(fragments_are_counted_within_a_table)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint64_t a = rig_l2(r, 0);
	uint64_t b = rig_l2(r, 1);
	struct outcome *o;

	rig_data(r, a, 0);
	rig_data(r, b, 3); /* first of its table: no fragment */
	rig_data(r, a, 9); /* not behind the first of its table */
	rig_data(r, a, 10);
	rig_entry(r, a, 11, L2_ZERO, 0);
	rig_data(r, a, 12);
	rig_finish(r);
	o = check_rig(r);
	assert_int_equal(o->result.allocated_clusters, 5);
	assert_int_equal(o->result.fragmented_clusters, 1);
	assert_int_equal(o->result.total_clusters, r->header.size / r->cs);
	assert_int_equal(o->result.image_end_off, r->n_clusters * r->cs);
	free(o);
	rig_free(r);
}
