#include "format/defect.h"

#include <string.h>

#include "support/test.h"

TEST(numbers_run_from_1_without_gaps)
{
	assert_null(defect_info(DEFECT_NONE));
	assert_null(defect_info(-1));
	assert_null(defect_info(DEFECT_COUNT));
	assert_null(defect_info(INT32_MAX));
	assert_null(defect_info(INT32_MIN));
	for (int i = 1; i < DEFECT_COUNT; i++)
		assert_non_null(defect_info(i));
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

TEST(names_are_lower_case_words_and_unique)
{
	for (int i = 1; i < DEFECT_COUNT; i++) {
		const char *name = defect_info(i)->name;

		assert_true(strlen(name) > 0);
		for (const char *p = name; *p; p++)
			assert_true(is_name_char(*p));
		for (int j = 1; j < i; j++)
			assert_string_not_equal(name, defect_info(j)->name);
	}
}

/* They are put into the middle of messages. */
TEST(texts_are_short_sentences_without_end)
{
	for (int i = 1; i < DEFECT_COUNT; i++) {
		const char *text = defect_info(i)->text;

		assert_in_range(strlen(text), 10, 100);
		assert_true(text[strlen(text) - 1] != '.');
		assert_null(strpbrk(text, "%\n\\"));
	}
}

TEST(only_leaks_are_repaired_as_leaks)
{
	for (int i = 1; i < DEFECT_COUNT; i++) {
		const struct defect_info *d = defect_info(i);

		assert_in_range(d->severity, DEFECT_SEVERITY_LEAK,
				DEFECT_SEVERITY_FATAL);
		assert_in_range(d->repair, DEFECT_REPAIR_NEVER,
				DEFECT_REPAIR_ALL);
		assert_int_equal(d->severity == DEFECT_SEVERITY_LEAK,
				 d->repair == DEFECT_REPAIR_LEAKS);
	}
}

/* Stored in error structures and scripts of callers: these may never move. */
TEST(numbers_are_stable)
{
	assert_int_equal(DEFECT_HEADER_TOO_SHORT, 1);
	assert_int_equal(DEFECT_HEADER_DIRTY_BIT, 25);
	assert_int_equal(DEFECT_EXTENSION_DATA_FILE, 33);
	assert_int_equal(DEFECT_COMPRESSED_DATA, 49);
	assert_int_equal(DEFECT_CLUSTER_OVERLAP, 57);
	assert_int_equal(DEFECT_LUKS_SLOT, 68);
	assert_string_equal(defect_info(DEFECT_HEADER_TOO_SHORT)->name,
			    "header-too-short");
	assert_string_equal(defect_info(DEFECT_REFCOUNT_LEAK)->name,
			    "refcount-leak");
}
