#include "image/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"

enum { LEN = 4096, NAME_OFF = 1000 };

static struct names with_cluster(const char *backing)
{
	struct names n = { .cluster0 = calloc(1, LEN), .cluster0_len = LEN };

	assert_non_null(n.cluster0);
	if (backing)
		memcpy(n.cluster0 + NAME_OFF, backing, strlen(backing));
	return n;
}

static struct header header_of(const char *backing)
{
	return (struct header){
		.version = 3,
		.cluster_bits = 12,
		.backing_off = backing ? NAME_OFF : 0,
		.backing_len = backing ? (uint32_t)strlen(backing) : 0,
	};
}

TEST(texts_are_copied_and_terminated)
{
	const struct header h = header_of("base.raw");
	const struct extensions x = {
		.backing_format = (const uint8_t *)"rawXXX",
		.backing_format_len = 3,
		.data_file = (const uint8_t *)"data.bin",
		.data_file_len = 4,
	};
	struct names n = with_cluster("base.rawZZZ");

	assert_int_equal(names_open(&n, &h, &x, NULL), 0);
	assert_string_equal(n.backing_file, "base.raw");
	assert_string_equal(n.backing_format, "raw");
	assert_string_equal(n.data_file, "data");
	names_release(&n);
	assert_null(n.backing_file);
	assert_null(n.cluster0);
}

TEST(what_is_not_there_is_null)
{
	const struct header h = header_of(NULL);
	const struct extensions x = { 0 };
	struct names n = with_cluster(NULL);

	assert_int_equal(names_open(&n, &h, &x, NULL), 0);
	assert_null(n.backing_file);
	assert_null(n.backing_format);
	assert_null(n.data_file);
	assert_null(names_feature(&n, FEATURE_INCOMPATIBLE, 0));
	names_release(&n);
}

TEST(a_name_behind_the_end_of_a_short_file_is_refused)
{
	const struct header h = header_of("base.raw");
	const struct extensions x = { 0 };

	for (size_t len = NAME_OFF; len <= NAME_OFF + 8; len++) {
		struct qcow2_error err = { 0 };
		struct names n = with_cluster("base.raw");

		n.cluster0_len = len;
		if (len == NAME_OFF + 8) {
			assert_int_equal(names_open(&n, &h, &x, &err), 0);
		} else {
			assert_int_equal(names_open(&n, &h, &x, &err), -EINVAL);
			assert_int_equal(err.defect,
					 DEFECT_HEADER_BACKING_NAME);
		}
		names_release(&n);
	}
}

/* @n entries: types and bits in turn, named by their number. */
static uint8_t *feature_table(uint32_t n)
{
	uint8_t *table = calloc(n, FEATURE_ENTRY_BYTES);

	assert_non_null(table);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *e = table + i * FEATURE_ENTRY_BYTES;

		e[0] = (uint8_t)(i % 3);
		e[1] = (uint8_t)(i / 3 % 64);
		memset(e + 2, 'a' + (int)(i % 26), FEATURE_ENTRY_BYTES - 2);
	}
	return table;
}

TEST(features_are_found_by_type_and_bit)
{
	const struct header h = header_of(NULL);
	struct names n = with_cluster(NULL);
	uint8_t *table = feature_table(9);
	const struct extensions x = {
		.feature_names = table,
		.feature_names_len = 9 * FEATURE_ENTRY_BYTES,
	};
	const char *name;

	/* Entry 4 has no name. */
	memset(table + 4 * FEATURE_ENTRY_BYTES + 2, 0, FEATURE_NAME_BYTES);
	assert_int_equal(names_open(&n, &h, &x, NULL), 0);
	name = names_feature(&n, 2, 1);
	assert_non_null(name);
	/* All of it: a full name has no terminator in the file. */
	assert_int_equal(strlen(name), FEATURE_NAME_BYTES);
	assert_int_equal(name[0], 'a' + 5);
	assert_null(names_feature(&n, 1, 1));
	assert_null(names_feature(&n, 0, 63));
	free(table);
	names_release(&n);
}

TEST(no_more_names_than_bits_are_kept)
{
	const struct header h = header_of(NULL);
	struct names n = with_cluster(NULL);
	uint8_t *table = feature_table(1000);
	const struct extensions x = {
		.feature_names = table,
		.feature_names_len = 1000 * FEATURE_ENTRY_BYTES,
	};

	assert_int_equal(names_open(&n, &h, &x, NULL), 0);
	assert_int_equal(n.n_features, 3 * 64);
	free(table);
	names_release(&n);
}

TEST(a_malformed_table_names_nothing)
{
	const struct header h = header_of(NULL);
	struct names n = with_cluster(NULL);
	uint8_t *table = feature_table(2);
	const struct extensions x = {
		.feature_names = table,
		.bad_feature_names = true,
		.feature_names_len = 2 * FEATURE_ENTRY_BYTES,
	};

	assert_int_equal(names_open(&n, &h, &x, NULL), 0);
	assert_int_equal(n.n_features, 0);
	assert_null(names_feature(&n, 0, 0));
	free(table);
	names_release(&n);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(texts_that_are_not_as_they_should_be_are_found)
{
	struct feature_text unended = { 0 };
	struct names n = with_cluster(NULL);
	char nothing[] = "";

	names_validate(&n);
	memset(unended.name, 'x', sizeof(unended.name));
	ASSERT_ABORTS(n.cluster0 = NULL; names_validate(&n));
	ASSERT_ABORTS(n.cluster0_len = 1 << 30; names_validate(&n));
	ASSERT_ABORTS(n.n_features = 1; names_validate(&n));
	ASSERT_ABORTS(n.n_features = 1000; names_validate(&n));
	ASSERT_ABORTS(n.features = &unended; n.n_features = 1;
		      names_validate(&n));
	ASSERT_ABORTS(n.backing_file = nothing; names_validate(&n));
	names_release(&n);
}
