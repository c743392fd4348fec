#include "base/bytes.h"
#include "format/extension.h"
#include "generate.h"

TEST(names_end_at_the_first_nul_or_at_46)
{
	uint8_t *table = guard_alloc(96);
	struct feature_name f;

	memset(table, 0, 96);
	table[0] = FEATURE_COMPATIBLE;
	table[1] = 63;
	memcpy(table + 2, "short", 5);
	memset(table + 48, 'n', 48);
	assert_true(feature_name_get(table, 96, 0, &f));
	assert_int_equal(f.type, FEATURE_COMPATIBLE);
	assert_int_equal(f.bit, 63);
	assert_int_equal(f.len, 5);
	assert_memory_equal(f.name, "short", 5);
	assert_true(feature_name_get(table, 96, 1, &f));
	assert_int_equal(f.len, 46);
	assert_int_equal(f.type, 'n');
	assert_false(feature_name_get(table, 96, 2, &f));
	assert_false(feature_name_get(table, 95, 1, &f));
	assert_false(feature_name_get(table, 0, 0, &f));
	assert_false(feature_name_get(table, 96, UINT32_MAX, &f));
	guard_free(table, 96);
}

static bool has_name(const uint8_t *table, uint32_t len, uint8_t type,
		     unsigned bit)
{
	struct feature_name f;

	for (uint32_t i = 0; feature_name_get(table, len, i, &f); i++)
		if (f.type == type && f.bit == bit && f.len)
			return true;
	return false;
}

TEST(the_table_written_names_every_known_feature)
{
	static const uint64_t known[] = { INCOMPAT_KNOWN, COMPAT_KNOWN,
					  AUTOCLEAR_KNOWN };
	uint8_t buf[512];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));
	uint32_t len;

	extension_encode_feature_names(&w);
	assert_false(w.failed);
	assert_int_equal(get_be32(buf), EXT_FEATURE_NAMES);
	len = get_be32(buf + 4);
	assert_int_equal(len, 8 * 48);
	assert_int_equal(byte_writer_len(&w), 8 + len);
	for (uint8_t type = 0; type < 3; type++)
		for (unsigned bit = 0; bit < 64; bit++)
			assert_int_equal(has_name(buf + 8, len, type, bit),
					 known[type] >> bit & 1);
}
