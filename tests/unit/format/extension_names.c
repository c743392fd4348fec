/*
 * The names among the header extensions.
 */
#include "extension_area.h"

TEST(a_format_name_is_short_text)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	assert_int_equal(one(EXT_BACKING_FORMAT, "qcow2", 5, &x), 0);
	assert_int_equal(x.backing_format_len, 5);
	assert_int_equal(one(EXT_BACKING_FORMAT, "123456789012345", 15, &x), 0);
	assert_int_equal(one(EXT_BACKING_FORMAT, "1234567890123456", 16, &x),
			 DEFECT_EXTENSION_BACKING_FORMAT);
	/* Without a backing file, a bad name does no harm either. */
	assert_int_equal(one(EXT_BACKING_FORMAT, "", 0, &x), 0);
	assert_null(x.backing_format);
	assert_int_equal(one(EXT_BACKING_FORMAT, "raw\0qcow2", 9, &x), 0);
	assert_null(x.backing_format);
	/* F13: as QEMU reads it, NULs fill a name up. */
	for (uint32_t len = 0; len <= 10; len++) {
		const char *text = "raw\0\0\0\0\0\0x";
		enum defect want = len < 10 ? DEFECT_NONE
					    : DEFECT_EXTENSION_BACKING_FORMAT;

		area_init(&a);
		a.buf[2048] = 'n';
		a.h.backing_off = 2048;
		a.h.backing_len = 1;
		extension_encode(&a.w, EXT_BACKING_FORMAT, text, len);
		assert_int_equal(decode(&a, &x, &fault), want);
		if (want) {
			assert_int_equal(fault.off, HEADER + 4);
			assert_int_equal(fault.limit, 15);
		} else {
			assert_int_equal(x.backing_format_len,
					 len < 3 ? len : 3);
			assert_int_equal(x.padded_backing_format, len > 3);
			assert_int_equal(!x.backing_format, len == 0);
		}
		area_release(&a);
	}
}

static enum defect data_file(const char *name, uint32_t len,
			     struct extensions *x)
{
	struct fault fault;
	struct area a;
	enum defect bad;

	area_init(&a);
	a.h.incompatible_features = INCOMPAT_DATA_FILE;
	if (name)
		extension_encode(&a.w, EXT_DATA_FILE, name, len);
	bad = decode(&a, x, &fault);
	assert_true(!bad || !name || fault.limit == 1023);
	area_release(&a);
	return bad;
}

TEST(a_data_file_has_a_name)
{
	char name[1025];
	struct extensions x;

	memset(name, 'n', sizeof(name));
	assert_int_equal(data_file(name, 1, &x), 0);
	assert_int_equal(x.data_file_len, 1);
	assert_int_equal(data_file(name, 1023, &x), 0);
	assert_int_equal(data_file(name, 1024, &x), DEFECT_EXTENSION_DATA_FILE);
	assert_int_equal(data_file(name, 0, &x), DEFECT_EXTENSION_DATA_FILE);
	assert_int_equal(data_file("a\0b", 3, &x), DEFECT_EXTENSION_DATA_FILE);
	assert_int_equal(data_file(NULL, 0, &x), DEFECT_EXTENSION_DATA_FILE);
	/* Without the feature bit the name is just there. */
	assert_int_equal(one(EXT_DATA_FILE, "data.raw", 8, &x), 0);
	assert_int_equal(x.data_file_len, 8);
	assert_int_equal(one(EXT_DATA_FILE, "", 0, &x), 0);
	assert_null(x.data_file);
}

TEST(a_malformed_feature_table_is_ignored)
{
	uint8_t table[97] = { 0 };
	struct extensions x;

	assert_int_equal(one(EXT_FEATURE_NAMES, table, 96, &x), 0);
	assert_int_equal(x.feature_names_len, 96);
	assert_false(x.bad_feature_names);
	for (uint32_t len = 1; len <= 97; len++) {
		if (len % 48 == 0)
			continue;
		assert_int_equal(one(EXT_FEATURE_NAMES, table, len, &x), 0);
		assert_true(x.bad_feature_names);
		assert_null(x.feature_names);
	}
}
