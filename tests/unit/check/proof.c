#include "check/proof.h"

#include <errno.h>
#include <stdlib.h>

#include "rig.h"

struct verdict {
	int rc;
	struct qcow2_error err;
	struct proof_findings f;
};

static struct verdict prove_within(struct rig *r, uint64_t metadata_bytes,
				   bool with_bitmaps)
{
	struct qcow2_budget budget = { .metadata_bytes = metadata_bytes };
	struct verdict v = { 0 };

	v.rc = check_prove(r->store, &budget, with_bitmaps, &v.f, &v.err);
	return v;
}

static struct verdict prove(struct rig *r)
{
	return prove_within(r, 0, false);
}

/* One run of clusters is too low, and nothing else. */
static void expect_low(struct rig *r, uint64_t off, uint64_t n, uint64_t count)
{
	struct verdict v = prove(r);

	assert_int_equal(v.rc, 0);
	assert_int_equal(v.f.n_low, 1);
	assert_int_equal(v.f.low[0].first, off / r->cs);
	assert_int_equal(v.f.low[0].n, n);
	assert_int_equal(v.f.low[0].count, count);
	assert_true(v.f.wrong_flags);
	free(v.f.low);
}

TEST(a_sound_image_has_nothing_too_low)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	struct verdict v;

	rig_snapshot(r, &s);
	rig_bitmap(r, "b");
	rig_finish(r);
	v = prove(r);
	assert_int_equal(v.rc, 0);
	assert_int_equal(v.f.n_low, 0);
	assert_false(v.f.wrong_flags || v.f.corrupt || v.f.too_narrow);
	rig_free(r);
}

TEST(every_kind_of_cluster_can_be_too_low)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	uint64_t l1 = rig_snapshot(r, &s);
	struct rig_bitmap b = rig_bitmap(r, "b");
	struct {
		uint64_t off, count;
	} rows[] = {
		{ 0, 1 },
		{ s.l2, 2 },
		{ s.data[1], 2 },
		{ l1, 1 },
		{ r->header.snapshots_off, 1 },
		{ b.directory, 1 },
		{ b.table, 1 },
		{ b.data, 1 },
		{ 0, 1 },
		{ 0, 1 },
		{ 0, 1 },
	};
	enum { N = sizeof(rows) / sizeof(rows[0]) };

	rig_finish(r);
	rows[N - 1].off = r->l1_off;
	rows[N - 2].off = r->table_off;
	rows[N - 3].off = r->block_off;
	for (unsigned i = 0; i < N; i++) {
		for (uint64_t low = 0; low < rows[i].count; low++) {
			rig_poke_refcount(r, rows[i].off, low);
			expect_low(r, rows[i].off, 1, rows[i].count);
		}
		rig_poke_refcount(r, rows[i].off, rows[i].count);
	}
	rig_free(r);
}

/* The digest in the counters ends at 2. */
TEST(a_count_above_two_is_compared_exactly)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	struct verdict v;

	for (uint32_t i = 3; i < 6; i++)
		rig_entry(r, s.l2, i, s.data[0], 0);
	rig_set_refcount(r, s.data[0], 4);
	rig_finish(r);
	v = prove(r);
	assert_int_equal(v.rc, 0);
	assert_int_equal(v.f.n_low, 0);
	rig_poke_refcount(r, s.data[0], 3);
	expect_low(r, s.data[0], 1, 4);
	rig_free(r);
}

/* The writer itself cleared the bit of these a moment ago. */
TEST(stale_bitmaps_count_if_asked)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct rig_bitmap b;
	struct verdict v;

	rig_small(r);
	b = rig_bitmap(r, "b");
	rig_finish(r);
	rig_put64(r, HEADER_OFF_AUTOCLEAR, 0);
	rig_poke_refcount(r, b.data, 0);
	v = prove(r);
	assert_int_equal(v.rc, 0);
	assert_int_equal(v.f.n_low, 0);
	v = prove_within(r, 0, true);
	assert_int_equal(v.rc, 0);
	assert_int_equal(v.f.n_low, 1);
	free(v.f.low);
	rig_free(r);
}

TEST(what_raising_does_not_cure_is_corrupt)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	struct verdict v;

	rig_finish(r);
	rig_put64(r, s.l2 + 8 * 7, r->l1_off | ENTRY_COPIED);
	v = prove(r);
	assert_int_equal(v.rc, -EIO);
	assert_true(v.f.corrupt);
	assert_int_equal(v.err.defect, DEFECT_CLUSTER_OVERLAP);
	free(v.f.low);
	rig_put64(r, s.l2 + 8 * 7, UINT64_C(1) << 40 | ENTRY_COPIED);
	v = prove(r);
	assert_true(v.f.corrupt);
	assert_int_equal(v.err.defect, DEFECT_L2_ENTRY_BEYOND_EOF);
	free(v.f.low);
	rig_free(r);
}

/* A writer drops such bitmaps anyway. */
TEST(bitmaps_that_cannot_be_followed_do_not_matter)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct rig_bitmap b;
	struct verdict v;

	rig_small(r);
	b = rig_bitmap(r, "b");
	rig_finish(r);
	rig_put64(r, b.table, UINT64_C(1) << 60);
	v = prove(r);
	assert_int_equal(v.rc, 0);
	assert_int_equal(v.f.n_low, 0);
	rig_put32(r, b.directory, 77);
	v = prove(r);
	assert_int_equal(v.rc, 0);
	rig_free(r);
}

/* An image that the check calls sound gives no reason to refuse a write. */
static void expect_no_reason(struct rig *r)
{
	struct verdict v = prove(r);

	assert_int_equal(v.rc, 0);
	assert_int_equal(v.f.n_low, 0);
	assert_false(v.f.wrong_flags || v.f.corrupt || v.f.too_narrow);
}

static struct rig *with_header_bytes(const void *bytes, size_t len,
				     uint64_t off)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_small(r);
	rig_finish(r);
	rig_put(r, off, bytes, len);
	return r;
}

/* One note, and it names this defect. */
static void expect_note(struct rig *r, enum defect defect)
{
	struct outcome *o = check_rig(r);

	assert_int_equal(o->rc, 0);
	assert_int_equal(o->n, 1);
	assert_int_equal(o->found[0].defect, defect);
	assert_int_equal(o->found[0].severity, QCOW2_SEVERITY_NONE);
	assert_int_equal(o->result.corruptions, 0);
	free(o);
	expect_no_reason(r);
}

TEST(a_repeated_extension_is_no_reason)
{
	static const uint8_t twice[] = {
		0xe2, 0x79, 0x2a, 0xca, 0,   0,    0,    3,    'r',  'a', 'w',
		0,    0,    0,    0,    0,   0xe2, 0x79, 0x2a, 0xca, 0,   0,
		0,    3,    'r',  'a',  'w', 0,    0,    0,    0,    0,
	};
	struct rig *r =
		with_header_bytes(twice, sizeof(twice), HEADER_LENGTH_V3);

	expect_note(r, DEFECT_EXTENSION_DUPLICATE);
	rig_free(r);
}

TEST(a_padded_name_is_no_reason)
{
	static const uint8_t padded[] = {
		0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 8,
		'r',  'a',  'w',  0,    0, 0, 0, 0,
	};
	struct rig *r =
		with_header_bytes(padded, sizeof(padded), HEADER_LENGTH_V3);

	expect_note(r, DEFECT_EXTENSION_BACKING_FORMAT);
	rig_free(r);
}

TEST(a_malformed_feature_table_is_no_reason)
{
	static const uint8_t odd[] = { 0x68, 0x03, 0xf8, 0x57, 0, 0, 0, 47 };
	struct rig *r = with_header_bytes(odd, sizeof(odd), HEADER_LENGTH_V3);

	expect_note(r, DEFECT_EXTENSION_FEATURE_TABLE);
	rig_free(r);
}

TEST(a_place_without_a_name_is_no_reason)
{
	static const uint8_t place[8] = { 0, 0, 0, 0, 0, 0, 1, 0 };
	struct rig *r =
		with_header_bytes(place, sizeof(place), HEADER_OFF_BACKING_OFF);

	expect_note(r, DEFECT_HEADER_BACKING_TEXT);
	rig_free(r);
}

TEST(marks_are_no_reason)
{
	static const uint8_t dirty[8] = { 0, 0, 0, 0, 0, 0, 0, INCOMPAT_DIRTY };
	static const uint8_t corrupt[8] = { 0, 0, 0, 0,
					    0, 0, 0, INCOMPAT_CORRUPT };
	struct rig *r =
		with_header_bytes(dirty, sizeof(dirty), HEADER_OFF_INCOMPAT);

	expect_note(r, DEFECT_HEADER_DIRTY_BIT);
	rig_put(r, HEADER_OFF_INCOMPAT, corrupt, sizeof(corrupt));
	expect_note(r, DEFECT_HEADER_CORRUPT_BIT);
	rig_free(r);
}

/* These are findings, since others do not open such images; but they refer to
 * nothing. */
TEST(an_odd_end_and_an_odd_empty_table_are_no_reason)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);

	rig_snapshot(r, &s);
	rig_finish(r);
	rig_put64(r, HEADER_LENGTH_V3, r->cs - HEADER_LENGTH_V3 - 7);
	EXPECT(r, { DEFECT_EXTENSION_END, HEADER_LENGTH_V3 });
	expect_no_reason(r);
	rig_put64(r, HEADER_LENGTH_V3, (uint64_t)EXT_BITMAPS << 32 | 16);
	EXPECT(r, { DEFECT_EXTENSION_BITMAPS, HEADER_LENGTH_V3 });
	expect_no_reason(r);
	rig_put64(r, HEADER_LENGTH_V3, 0);
	rig_put64(r, r->header.snapshots_off, 77);
	rig_put32(r, r->header.snapshots_off + 8, 0);
	assert_int_equal(prove(r).f.corrupt, false);
	rig_free(r);
}

TEST(refcounts_may_be_too_narrow)
{
	struct rig *r = rig_new(&(struct rig_opts){ .has_order = true });
	struct small s = rig_small(r);
	struct verdict v;

	rig_entry(r, s.l2, 7, s.data[0], 0);
	rig_finish(r);
	v = prove(r);
	assert_int_equal(v.rc, -EIO);
	assert_true(v.f.too_narrow);
	assert_false(v.f.corrupt);
	assert_int_equal(v.err.defect, DEFECT_REFCOUNT_TOO_LOW);
	free(v.f.low);
	rig_free(r);
}

TEST(no_memory_is_no_damage)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct verdict v;

	rig_small(r);
	rig_finish(r);
	v = prove_within(r, 4096, false);
	assert_int_equal(v.rc, -E2BIG);
	assert_false(v.f.corrupt || v.f.too_narrow);
	free(v.f.low);
	rig_free(r);
}
