#include <errno.h>
#include <string.h>

#include "lines.h"

static struct rig *fresh(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_small(r);
	rig_finish(r);
	return r;
}

static struct lines *header_of(struct rig *r)
{
	return lines_of(r->store, NULL);
}

static void expect_header_line(struct rig *r, const char *want)
{
	struct lines *l = header_of(r);

	expect_line(l, want);
	lines_free(l);
}

TEST(tells_fields_and_places)
{
	struct rig *r = fresh();
	struct lines *l = header_of(r);

	expect_no_defect(l);
	expect_line(l, "file@- bytes=32768 cluster-size=4096 clusters=8");
	expect_line(l, "header@0x0 magic=0x514649fb");
	expect_line(l, "header@0x28 l1_table_offset=0x5000");
	expect_line(l, "header@0x48 incompatible_features=0x0");
	expect_line(l, "l1-table@0x5000 entries=8 bytes=64 disk-size=16777216"
		       " entries-needed=8 bytes-per-entry=2097152");
	expect_line(l, "refcount-table@0x6000 clusters=1 bytes=4096"
		       " refcount-bits=16");
	expect_line(l, "snapshot-table@0x0 snapshots=0");
	expect_line(l, "bitmap-directory@- bitmaps=0 bytes=0");
	lines_free(l);
	rig_free(r);
}

TEST(version_2_has_no_fields_of_version_3)
{
	struct rig *r = rig_new(&(struct rig_opts){ .version = 2 });
	struct lines *l;

	rig_finish(r);
	l = header_of(r);
	expect_no_defect(l);
	expect_line(l, "header@0x40 snapshots_offset=0x0");
	expect_line(l, "extensions-end@0x48");
	assert_null(strstr(l->text, "header@0x48"));
	lines_free(l);
	rig_free(r);
}

/* Each defect stands beside its field, and none hides another. */
TEST(tells_every_defect_of_the_header)
{
	struct rig *r = fresh();
	struct lines *l;

	rig_put32(r, HEADER_OFF_CRYPT_METHOD, 9);
	rig_put32(r, HEADER_OFF_L1_SIZE, UINT32_MAX);
	rig_put64(r, HEADER_OFF_REFCOUNT_TABLE_OFF, 0x6001);
	rig_put32(r, HEADER_OFF_SNAPSHOT_COUNT, 65537);
	rig_put64(r, HEADER_OFF_BACKING_OFF, UINT64_MAX);
	rig_put64(r, HEADER_OFF_INCOMPAT, 0x8000000000000003);
	rig_put64(r, HEADER_OFF_AUTOCLEAR, AUTOCLEAR_DATA_FILE_RAW);
	l = header_of(r);
	expect_line(l, "header@0x20 crypt_method=9 !header-crypt-method");
	expect_line(l, "header@0x24 l1_size=4294967295 !header-l1-size");
	expect_line(l, "header@0x30 refcount_table_offset=0x6001"
		       " !header-refcount-table-offset");
	expect_line(l, "header@0x3c nb_snapshots=65537"
		       " !header-snapshot-count");
	expect_line(l, "header@0x8 backing_file_offset=0xffffffffffffffff"
		       " !header-backing-name");
	expect_line(l, "header@0x48 incompatible_features=0x8000000000000003"
		       " dirty corrupt !header-dirty-bit !header-corrupt-bit"
		       " !header-unknown-feature");
	expect_line(l, "header@0x58 autoclear_features=0x2 data-file-raw"
		       " !header-data-file-raw");
	lines_free(l);
	rig_free(r);
}

/* The dump tells what the file has, not what was put in its place. */
TEST(goes_on_behind_fields_that_cannot_be)
{
	struct rig *r = fresh();
	struct lines *l;

	rig_put32(r, HEADER_OFF_MAGIC, 0x12345678);
	rig_put32(r, HEADER_OFF_VERSION, 77);
	rig_put32(r, HEADER_OFF_REFCOUNT_ORDER, 99);
	rig_put32(r, HEADER_OFF_HEADER_LENGTH, 7);
	l = header_of(r);
	expect_line(l, "header@0x0 magic=0x12345678 !header-magic");
	expect_line(l, "header@0x4 version=77 !header-version");
	expect_line(l, "header@0x60 refcount_order=99"
		       " !header-refcount-order");
	expect_line(l, "header@0x64 header_length=7 !header-length");
	expect_line(l, "header@0x24 l1_size=8");
	lines_free(l);
	l = lines_of_what(r, QCOW2_DUMP_L1, 0);
	expect_line(l, "header@0x0 magic=0x12345678 !header-magic");
	expect_line(l, "l1-entry@0x5000 index=0 guest-offset=0x0"
		       " entry=0x8000000000001000 l2-table=0x1000 copied");
	lines_free(l);
	rig_free(r);
}

TEST(without_cluster_bits_there_is_the_header_alone)
{
	static const uint32_t numbers[] = { 0, 8, 22, UINT32_MAX };
	struct rig *r = fresh();

	for (int i = 0; i < 4; i++) {
		struct lines *l;

		rig_put32(r, HEADER_OFF_CLUSTER_BITS, numbers[i]);
		l = header_of(r);
		assert_int_equal(l->rc, 0);
		assert_non_null(strstr(l->text, " !header-cluster-bits\n"));
		lines_free(l);
		for (uint32_t what = QCOW2_DUMP_L1; what <= QCOW2_DUMP_ENTRY;
		     what++) {
			l = lines_of_what(r, what, 0);
			assert_int_equal(l->rc, -EINVAL);
			assert_int_equal(l->err.defect,
					 DEFECT_HEADER_CLUSTER_BITS);
			assert_int_equal(l->n, 0);
			lines_free(l);
		}
	}
	rig_free(r);
}

/* A file of any length is told as far as it goes. */
TEST(tells_what_a_cut_file_has)
{
	struct rig *r = fresh();

	for (uint64_t len = 4095; len != UINT64_MAX; len--) {
		struct lines *l;

		assert_int_equal(store_truncate(r->store, len, NULL), 0);
		l = header_of(r);
		assert_int_equal(l->rc, 0);
		if (len == 20)
			expect_line(l, "header@0x10 backing_file_size=0");
		if (len == 19)
			assert_null(strstr(l->text, "backing_file_size"));
		lines_free(l);
		l = lines_of_what(r, QCOW2_DUMP_ENTRY, 0);
		assert_int_equal(l->rc, len < 104 ? -EINVAL : 0);
		lines_free(l);
	}
	rig_free(r);
}

TEST(tells_extensions_and_what_is_wrong_with_them)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct lines *l;

	rig_bitmap(r, "b");
	rig_finish(r);
	expect_header_line(r, "extension@0x70 name='bitmaps' type=0x23852875"
			      " length=24 bitmaps=1 reserved-field=0x0"
			      " directory-bytes=32 directory-offset=0x1000");
	rig_put32(r, 0x7c, 1);
	expect_header_line(r, "extension@0x70 name='bitmaps' type=0x23852875"
			      " length=24 bitmaps=1 reserved-field=0x1"
			      " directory-bytes=32 directory-offset=0x1000"
			      " !extension-bitmaps");
	rig_put32(r, 0x70, 0x12345678);
	expect_header_line(r, "extension@0x70 name='unknown' type=0x12345678"
			      " length=24 content='0000000100000001"
			      "00000000000000200000000000001000'");
	rig_put32(r, 0x74, UINT32_MAX);
	l = header_of(r);
	expect_line(l, "extension@0x70 name='unknown' type=0x12345678"
		       " length=4294967295 !extension-length");
	assert_null(strstr(l->text, "extensions-end"));
	lines_free(l);
	rig_free(r);
}

TEST(names_are_escaped)
{
	struct rig *r = fresh();

	rig_put(r, 512, "a\x1b[31m\xff\\", 8);
	rig_put64(r, HEADER_OFF_BACKING_OFF, 512);
	rig_put32(r, HEADER_OFF_BACKING_LEN, 8);
	expect_header_line(r, "backing-file@0x200"
			      " name='a\\x1b[31m\\xff\\x5c'");
	rig_put32(r, HEADER_OFF_BACKING_LEN, 9);
	expect_header_line(r, "backing-file@0x200"
			      " name='a\\x1b[31m\\xff\\x5c\\x00'"
			      " !header-backing-text");
	rig_free(r);
}

TEST(what_is_missing_stands_beside_the_field_that_needs_it)
{
	struct rig *r = fresh();
	struct lines *l;

	rig_put32(r, HEADER_OFF_CRYPT_METHOD, CRYPT_LUKS);
	expect_header_line(r, "header@0x20 crypt_method=2"
			      " !header-crypt-method");
	rig_put32(r, HEADER_OFF_CRYPT_METHOD, CRYPT_NONE);
	rig_put64(r, HEADER_OFF_INCOMPAT, INCOMPAT_DATA_FILE);
	l = header_of(r);
	expect_line(l, "header@0x48 incompatible_features=0x4"
		       " external-data-file !extension-data-file");
	lines_free(l);
	rig_free(r);
}
