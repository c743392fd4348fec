/*
 * An image that cannot be opened is refused with the reason, and nothing is
 * reported.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/defect.h"
#include "rig.h"

static struct rig *fresh(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_small(r);
	rig_finish(r);
	return r;
}

TEST(broken_headers_are_refused_by_name)
{
	static const struct {
		uint64_t off;
		uint64_t value;
		int32_t defect;
	} cases[] = {
		{ 0, 0, DEFECT_HEADER_MAGIC },
		{ HEADER_OFF_MAGIC, UINT64_C(0x514649fb00000004),
		  DEFECT_HEADER_VERSION },
		{ HEADER_OFF_L1_OFF, 513, DEFECT_HEADER_L1_OFFSET },
		{ HEADER_OFF_L1_OFF, UINT64_C(1) << 40,
		  DEFECT_HEADER_L1_OFFSET },
		{ HEADER_OFF_SIZE, UINT64_MAX, DEFECT_HEADER_SIZE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *r = fresh();

		rig_put64(r, cases[i].off, cases[i].value);
		expect_refused(r, -EINVAL, cases[i].defect);
		rig_free(r);
	}
}

/* The disk can be read, or repaired: that is a verdict, not a failure to give
 * one. */
TEST(what_a_repair_puts_right_in_the_header_is_found)
{
	static const struct {
		uint64_t off;
		uint64_t value;
		int32_t defect;
	} cases[] = {
		{ HEADER_OFF_REFCOUNT_TABLE_OFF, 513,
		  DEFECT_HEADER_REFCOUNT_TABLE_OFFSET },
		{ HEADER_OFF_REFCOUNT_TABLE_OFF, UINT64_C(1) << 40,
		  DEFECT_HEADER_REFCOUNT_TABLE_OFFSET },
		{ HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
		  UINT64_C(0x7fffffff00000000),
		  DEFECT_HEADER_REFCOUNT_TABLE_SIZE },
		{ HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
		  UINT64_C(0x0000000100000001), DEFECT_HEADER_SNAPSHOT_OFFSET },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *r = fresh();

		rig_put64(r, cases[i].off, cases[i].value);
		EXPECT(r, { cases[i].defect, ANYWHERE });
		rig_free(r);
	}
}

TEST(short_files_are_refused)
{
	struct rig *r = fresh();

	assert_int_equal(store_truncate(r->store, 50, NULL), 0);
	expect_refused(r, -EINVAL, DEFECT_HEADER_TOO_SHORT);
	assert_int_equal(store_truncate(r->store, 0, NULL), 0);
	expect_refused(r, -EINVAL, DEFECT_HEADER_TOO_SHORT);
	rig_free(r);
}

TEST(broken_extensions_are_refused)
{
	struct rig *r = fresh();

	rig_put64(r, HEADER_LENGTH_V3, UINT64_C(0x12345678ffffffff));
	expect_refused(r, -EINVAL, DEFECT_EXTENSION_LENGTH);
	rig_free(r);
}

TEST(unknown_features_are_named_from_the_table)
{
	struct rig *r = fresh();
	uint8_t entry[8 + FEATURE_ENTRY_BYTES] = { 0 };
	struct outcome *o;

	put_be32(entry, EXT_FEATURE_NAMES);
	put_be32(entry + 4, FEATURE_ENTRY_BYTES);
	entry[8] = FEATURE_INCOMPATIBLE;
	entry[9] = 40;
	memcpy(entry + 10, "evil\033name", 9);
	rig_put(r, HEADER_LENGTH_V3, entry, sizeof(entry));
	rig_put64(r, HEADER_OFF_INCOMPAT,
		  UINT64_C(1) << 40 | UINT64_C(1) << 41);
	o = check_rig(r);
	assert_int_equal(o->rc, -ENOTSUP);
	assert_int_equal(o->err.defect, DEFECT_HEADER_UNKNOWN_FEATURE);
	assert_int_equal(o->err.host_off, HEADER_OFF_INCOMPAT);
	assert_non_null(strstr(o->err.message, "evil\\x1bname, bit 41"));
	free(o);
	rig_free(r);
}

TEST(all_features_unknown_still_fit_the_message)
{
	struct rig *r = fresh();

	rig_put64(r, HEADER_OFF_INCOMPAT, UINT64_MAX);
	expect_refused(r, -ENOTSUP, DEFECT_HEADER_UNKNOWN_FEATURE);
	rig_free(r);
}

TEST(dirty_and_corrupt_marks_are_notes)
{
	struct rig *r = fresh();
	struct outcome *o;

	rig_put64(r, HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->n, 2);
	assert_int_equal(o->found[0].defect, DEFECT_HEADER_DIRTY_BIT);
	assert_int_equal(o->found[0].severity, QCOW2_SEVERITY_NONE);
	assert_int_equal(o->found[1].defect, DEFECT_HEADER_CORRUPT_BIT);
	assert_int_equal(o->result.corruptions, 0);
	free(o);
	rig_free(r);
}

TEST(a_raw_data_file_bit_without_data_file_is_found)
{
	struct rig *r = fresh();

	rig_put64(r, HEADER_OFF_AUTOCLEAR, AUTOCLEAR_DATA_FILE_RAW);
	EXPECT(r, { DEFECT_HEADER_DATA_FILE_RAW, HEADER_OFF_AUTOCLEAR });
	rig_free(r);
}

/* T3, T4: QEMU opens neither, whether the bitmaps are in use or not. */
TEST(extensions_that_others_refuse_are_found)
{
	struct rig *r = fresh();

	rig_put64(r, HEADER_LENGTH_V3, (uint64_t)EXT_BITMAPS << 32 | 16);
	EXPECT(r, { DEFECT_EXTENSION_BITMAPS, HEADER_LENGTH_V3 });
	rig_put64(r, HEADER_LENGTH_V3, r->cs - HEADER_LENGTH_V3 - 8);
	EXPECT_CLEAN(r);
	rig_put64(r, HEADER_LENGTH_V3, r->cs - HEADER_LENGTH_V3 - 7);
	EXPECT(r, { DEFECT_EXTENSION_END, HEADER_LENGTH_V3 });
	rig_free(r);
}

TEST(a_malformed_feature_table_is_a_note)
{
	struct rig *r = fresh();
	struct outcome *o;

	rig_put64(r, HEADER_LENGTH_V3, (uint64_t)EXT_FEATURE_NAMES << 32 | 47);
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->n, 1);
	assert_int_equal(o->found[0].defect, DEFECT_EXTENSION_FEATURE_TABLE);
	free(o);
	rig_free(r);
}

/* Each is a note of its own defect, and none keeps anybody out. */
TEST(names_filled_up_with_nuls_are_notes)
{
	static const struct {
		uint32_t ext;
		int32_t defect;
	} cases[] = {
		{ EXT_BACKING_FORMAT, DEFECT_EXTENSION_BACKING_FORMAT },
		{ EXT_DATA_FILE, DEFECT_EXTENSION_DATA_FILE },
		{ 0, DEFECT_HEADER_BACKING_TEXT },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *r = fresh();
		struct outcome *o;

		if (cases[i].ext) {
			rig_put32(r, HEADER_LENGTH_V3, cases[i].ext);
			rig_put32(r, HEADER_LENGTH_V3 + 4, 5);
			rig_put(r, HEADER_LENGTH_V3 + 8, "raw\0", 5);
		} else {
			rig_put64(r, HEADER_OFF_BACKING_OFF, 2048);
			rig_put32(r, HEADER_OFF_BACKING_LEN, 5);
			rig_put(r, 2048, "raw\0", 5);
		}
		o = check_rig(r);
		assert_int_equal(o->rc, 0);
		assert_int_equal(o->result.corruptions, 0);
		assert_int_equal(o->n, 1);
		assert_int_equal(o->found[0].defect, cases[i].defect);
		free(o);
		rig_free(r);
	}
}

TEST(a_missing_refcount_table_is_found)
{
	struct rig *r = fresh();
	struct outcome *o;

	rig_put32(r, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 0);
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->found[0].defect,
			 DEFECT_HEADER_REFCOUNT_TABLE_EMPTY);
	assert_int_equal(o->found[0].host_off,
			 HEADER_OFF_REFCOUNT_TABLE_CLUSTERS);
	/* One for the table, four COPIED flags; header, L1, L2, three data. */
	assert_int_equal(o->result.corruptions, 1 + 4 + 6);
	free(o);
	rig_free(r);
}

TEST(the_budget_for_the_disk_is_kept)
{
	struct rig *r = fresh();
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct outcome *o;

	opts.budget.virtual_bytes = r->header.size - 1;
	o = check_any(r->store, &opts);
	assert_int_equal(o->rc, -E2BIG);
	assert_non_null(strstr(o->err.message, "virtual_bytes"));
	assert_int_equal(o->err.reason, QCOW2_REASON_BUDGET);
	free(o);
	opts.budget.virtual_bytes = r->header.size;
	o = check_any(r->store, &opts);
	assert_int_equal(o->rc, 0);
	free(o);
	rig_free(r);
}

TEST(headers_longer_than_the_first_read_are_read_whole)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 21 });
	uint32_t len = 100 << 10;

	rig_small(r);
	rig_finish(r);
	rig_put32(r, HEADER_OFF_HEADER_LENGTH, len);
	EXPECT_CLEAN(r);
	rig_put64(r, len, UINT64_C(0x12345678ffffffff));
	expect_refused(r, -EINVAL, DEFECT_EXTENSION_LENGTH);
	rig_free(r);
}
