/*
 * Refcounts that break a promise of their headers are noticed.
 */
#include "counts/inherited.h"
#include "counts/replace.h"
#include "unit/counts/rig.h"

#define INVALID(...) ASSERT_ABORTS(__VA_ARGS__; refcounts_validate(&t.refs))

TEST(what_a_claim_leaves_is_valid)
{
	struct rig t;

	rig_init(&t);
	refcounts_validate(&t.refs);
	rig_claim(&t, 3);
	refcounts_validate(&t.refs);
	rig_release(&t);
}

TEST(a_table_that_differs_from_its_place_is_noticed)
{
	struct rig t;

	rig_init(&t);
	INVALID(t.refs.n_table--);
	INVALID(t.refs.n_table = 0);
	INVALID(t.refs.table = NULL);
	INVALID(t.refs.place.clusters++);
	INVALID(t.refs.place.off++);
	INVALID(t.refs.place.off = 0);
	INVALID(t.refs.changes.waiting.end = t.refs.n_table + 1);
	INVALID(t.refs.changes.writing.end = t.refs.n_table + 1);
	INVALID(t.refs.changes.waiting.first = 1);
	INVALID(t.refs.changes.writing = (struct table_range){ 1, 1 });
	rig_release(&t);
}

TEST(limits_that_pass_each_other_are_noticed)
{
	struct rig t;
	uint64_t end;

	rig_init(&t);
	end = t.refs.high_water / RIG_CLUSTER;
	INVALID(t.refs.high_water++);
	INVALID(t.refs.next_free = end + 1);
	INVALID(t.refs.held = end);
	INVALID(t.refs.inherited.end = end + 1);
	refcounts_doubt(&t.refs);
	INVALID(t.refs.next_free = end - 1);
	INVALID(t.refs.broken = 1);
	rig_release(&t);
}

TEST(blocks_that_are_another_cache_s_are_noticed)
{
	struct rig t;

	rig_init(&t);
	INVALID(t.refs.dirty.cache = &t.l2);
	INVALID(t.refs.blocks.file = t.mem);
	INVALID(t.refs.blocks.slice_bytes = 2 * RIG_CLUSTER);
	INVALID(t.refs.blocks.slice_bytes = 512 + 256);
	INVALID(t.refs.file = NULL);
	INVALID(t.refs.geo = NULL);
	rig_release(&t);
}

TEST(refcounts_that_are_none_have_nothing)
{
	struct rig t;

	rig_init(&t);
	refcounts_release(&t.refs);
	refcounts_open_none(&t.refs, &t.geo, t.file, -EIO);
	refcounts_validate(&t.refs);
	INVALID(t.refs.broken = 0);
	INVALID(t.refs.n_table = 1);
	INVALID(t.refs.table = &t.refs.n_table);
	rig_release(&t);
}

TEST(a_claim_of_nothing_or_of_the_header_is_noticed)
{
	struct claim none = { 0 };
	struct claim c = { RIG_CLUSTER, 1, false };

	claim_validate(&none);
	claim_validate(&c);
	ASSERT_ABORTS(c.n_clusters = 0; claim_validate(&c));
	ASSERT_ABORTS(c.host_off = 0; claim_validate(&c));
	ASSERT_ABORTS(c.host_off++; claim_validate(&c));
	ASSERT_ABORTS(c.host_off = UINT64_C(1) << 57; claim_validate(&c));
	ASSERT_ABORTS(c.n_clusters = UINT64_MAX; claim_validate(&c));
}

TEST(counts_outside_their_view_are_not_touched)
{
	struct rig t;

	rig_init(&t);
	ASSERT_ABORTS(refcounts_set(&t.refs, UINT64_C(1) << 16, 1, NULL));
	ASSERT_ABORTS(refcounts_add_block_at(&t.refs, 0, RIG_CLUSTER, NULL));
	rig_release(&t);
}

/* A write that failed half-way may end within a cluster. */
TEST(what_others_wrote_is_skipped_in_whole_clusters)
{
	uint64_t end;
	struct rig t;

	rig_init(&t);
	end = t.refs.high_water;
	refcounts_skip(&t.refs, end + 1);
	assert_int_equal(refcounts_high_water(&t.refs), end + RIG_CLUSTER);
	refcounts_validate(&t.refs);
	rig_release(&t);
}

TEST(a_new_table_keeps_how_long_its_blocks_stay_unused)
{
	struct rig t;

	rig_init(&t);
	refcounts_set_clean(&t.refs, 7);
	assert_int_equal(refcounts_replace(&t.refs, &t.header, NULL), 0);
	assert_int_equal(t.refs.blocks.clean_sec, 7);
	rig_release(&t);
}
