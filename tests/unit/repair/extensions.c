/*
 * The parts of the header beside its tables: other software opens the image
 * after a repair.
 */
#include "base/bytes.h"
#include "check/check.h"
#include "format/defect.h"
#include "mend.h"

#define FIRST_EXT HEADER_LENGTH_V3

static struct rig *fresh(uint64_t autoclear)
{
	struct rig_opts o = { .autoclear_features = autoclear };
	struct rig *r = rig_new(&o);

	rig_small(r);
	rig_finish(r);
	return r;
}

/* T4 */
TEST(a_raw_bit_without_data_file_is_cleared_by_every_repair)
{
	static const enum repair_what all[] = { REPAIR_LEAKS, REPAIR_REFCOUNTS,
						REPAIR_ALL };

	for (size_t i = 0; i < 3; i++) {
		struct rig *r = fresh(AUTOCLEAR_DATA_FILE_RAW);
		struct mended m = mend(r, all[i]);

		assert_int_equal(mended_count(&m, DEFECT_HEADER_DATA_FILE_RAW,
					      QCOW2_ACTION_REPAIRED),
				 1);
		assert_int_equal(m.result.corruptions_fixed, 1);
		assert_int_equal(rig_get64(r, HEADER_OFF_AUTOCLEAR), 0);
		rig_free(r);
	}
}

/* S13: nobody knows the promise of an unknown bit, so a repair may not leave
 * it, even one that finds nothing to do. */
TEST(unknown_bits_go_from_a_clean_image)
{
	struct rig *r = fresh(UINT64_C(1) << 63 | 4);
	struct mended m = mend(r, REPAIR_ALL);

	assert_int_equal(m.n, 0);
	assert_int_equal(rig_get64(r, HEADER_OFF_AUTOCLEAR), 0);
	rig_free(r);
}

/* T3: QEMU refuses the length before it looks whether the bitmaps are valid. */
TEST(a_bitmaps_extension_of_wrong_length_becomes_a_filler)
{
	struct rig *r = fresh(AUTOCLEAR_BITMAPS);
	struct mended m;

	rig_put64(r, FIRST_EXT, (uint64_t)EXT_BITMAPS << 32 | 16);
	rig_put64(r, FIRST_EXT + 24, (uint64_t)EXT_BITMAPS << 32 | 32);
	m = mend(r, REPAIR_ALL);
	assert_int_equal(mended_count(&m, DEFECT_EXTENSION_BITMAPS,
				      QCOW2_ACTION_REPAIRED),
			 1);
	assert_int_equal(rig_get64(r, HEADER_OFF_AUTOCLEAR), 0);
	assert_int_equal(rig_get64(r, FIRST_EXT),
			 (uint64_t)EXT_FILLER << 32 | 16);
	assert_int_equal(rig_get64(r, FIRST_EXT + 24),
			 (uint64_t)EXT_FILLER << 32 | 32);
	rig_free(r);
}

/* T4 */
TEST(an_end_mark_that_is_too_long_is_cut)
{
	struct rig *r = fresh(0);
	struct mended m;

	rig_put64(r, FIRST_EXT, (uint64_t)EXT_FILLER << 32 | 8);
	rig_put64(r, FIRST_EXT + 16, 0xffffffff);
	m = mend(r, REPAIR_ALL);
	assert_int_equal(
		mended_count(&m, DEFECT_EXTENSION_END, QCOW2_ACTION_REPAIRED),
		1);
	assert_int_equal(rig_get64(r, FIRST_EXT + 16), 0);
	rig_free(r);
}

/* T4 */
TEST(an_empty_l1_table_gets_an_offset)
{
	struct rig_opts o = { .version = 3 };
	struct rig *r = rig_new(&o);
	struct small s = rig_small(r);
	uint64_t entry;

	rig_snapshot(r, &s);
	rig_finish(r);
	entry = r->header.snapshots_off;
	rig_put32(r, entry + 8, 0);
	rig_put64(r, entry + 48, 0);
	rig_put64(r, entry, 77);
	mend(r, REPAIR_ALL);
	assert_int_equal(rig_get64(r, HEADER_OFF_SNAPSHOT_COUNT) >> 32, 1);
	assert_int_equal(rig_get64(r, rig_get64(r, HEADER_OFF_SNAPSHOTS_OFF)),
			 0);
	rig_free(r);
}

/* S11: the entries are more than the limit, and all zeros: as many as the limit
 * are kept, and the table stays in its place. */
TEST(too_many_snapshots_are_cut_to_the_limit_in_place)
{
	struct rig_opts o = { .version = 2 };
	struct rig *r = rig_new(&o);
	uint64_t table, before, after;

	rig_small(r);
	table = rig_alloc(r, 70000 * UINT64_C(40) / r->cs + 1);
	r->header.snapshots_off = table;
	r->header.n_snapshots = 70000;
	rig_finish(r);
	assert_int_equal(store_size(r->store, &before, NULL), 0);
	mend(r, REPAIR_ALL);
	assert_int_equal(store_size(r->store, &after, NULL), 0);
	assert_int_equal(before, after);
	assert_int_equal(rig_get64(r, HEADER_OFF_SNAPSHOT_COUNT) >> 32, 65536);
	assert_int_equal(rig_get64(r, HEADER_OFF_SNAPSHOTS_OFF), table);
	rig_free(r);
}

/* S11: likewise where the number is more than the file has room for. */
TEST(a_number_that_is_made_up_ends_with_the_entries)
{
	struct rig_opts o = { .version = 3 };
	struct rig *r = rig_new(&o);
	struct small s = rig_small(r);
	uint64_t entry, before, after;

	rig_snapshot(r, &s);
	rig_finish(r);
	entry = r->header.snapshots_off;
	rig_put32(r, HEADER_OFF_SNAPSHOT_COUNT, 30000);
	assert_int_equal(store_size(r->store, &before, NULL), 0);
	mend(r, REPAIR_ALL);
	assert_int_equal(store_size(r->store, &after, NULL), 0);
	assert_int_equal(before, after);
	assert_int_equal(rig_get64(r, HEADER_OFF_SNAPSHOT_COUNT) >> 32, 1);
	assert_int_equal(rig_get64(r, HEADER_OFF_SNAPSHOTS_OFF), entry);
	rig_free(r);
}

/* Writing would change the snapshot with the disk: it gets a table of its own,
 * and both read what they read. */
TEST(a_snapshot_with_the_active_l1_table_gets_a_copy)
{
	struct rig_opts o = { .version = 3 };
	struct rig *r = rig_new(&o);
	struct small s = rig_small(r);
	uint64_t entry, copy;
	struct mended m;

	rig_snapshot(r, &s);
	rig_finish(r);
	entry = r->header.snapshots_off;
	rig_put64(r, entry, r->l1_off);
	m = mend(r, REPAIR_ALL);
	assert_int_equal(
		mended_count(&m, DEFECT_CLUSTER_OVERLAP, QCOW2_ACTION_REPAIRED),
		1);
	assert_int_equal(rig_get64(r, HEADER_OFF_SNAPSHOT_COUNT) >> 32, 1);
	copy = rig_get64(r, rig_get64(r, HEADER_OFF_SNAPSHOTS_OFF));
	assert_int_not_equal(copy, r->l1_off);
	assert_int_equal(rig_get64(r, copy), s.l2);
	assert_int_equal(rig_get64(r, r->l1_off), s.l2);
	assert_int_equal(rig_get64(r, HEADER_OFF_L1_OFF), r->l1_off);
	rig_free(r);
}
