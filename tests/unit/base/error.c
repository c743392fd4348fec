#include "base/error.h"

#include <errno.h>
#include <locale.h>
#include <string.h>

#include "support/test.h"

TEST(a_failure_is_one_statement)
{
	struct qcow2_error err;

	memset(&err, 0x55, sizeof(err));
	assert_int_equal(error_set(&err, -EINVAL, "size is %d", 7), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_int_equal(err.defect, 0);
	assert_true(err.host_off == UINT64_MAX);
	assert_string_equal(err.message, "size is 7");
}

/* No field that a caller can act on is left over from an earlier failure. */
TEST(a_failure_fills_every_field)
{
	static const uint32_t zeros[3];
	struct qcow2_error err;

	memset(&err, 0x55, sizeof(err));
	error_set(&err, -EINVAL, "x");
	assert_int_equal(err.layer, QCOW2_LAYER_UNKNOWN);
	assert_int_equal(err.flags, 0);
	assert_int_equal(err.reason, QCOW2_REASON_NONE);
	assert_memory_equal(err.reserved, zeros, sizeof(zeros));
}

TEST(a_reason_is_kept_and_its_layer_is_the_lowest)
{
	struct qcow2_error err;

	assert_int_equal(
		error_reason(&err, -EPERM, QCOW2_REASON_REFERENCE, "x"),
		-EPERM);
	assert_int_equal(error_in_layer(&err, -EPERM, 3), -EPERM);
	error_in_layer(&err, -EPERM, 2);
	error_prefix(&err, -EPERM, "disk");
	assert_int_equal(err.reason, QCOW2_REASON_REFERENCE);
	assert_int_equal(err.layer, 3);
}

TEST(what_passes_may_be_tried_again)
{
	struct qcow2_error err;

	error_set(&err, -ENOSPC, "x");
	assert_int_equal(err.flags, QCOW2_ERROR_RETRY);
	error_prefix(&err, -EIO, "flush");
	assert_int_equal(err.flags, 0);
}

/* D15: messages are English and UTF-8 wherever the program runs. */
TEST(errno_values_have_words_in_every_locale)
{
	setlocale(LC_ALL, "de_DE.ISO-8859-1");
	assert_string_equal(error_words(ENOENT), "No such file or directory");
	assert_string_equal(error_words(70000), "unknown error");
	setlocale(LC_ALL, "C");
}

TEST(a_defect_keeps_its_number_and_place)
{
	struct qcow2_error err;

	assert_int_equal(error_defect(&err, -EIO, 12, 4096, "bad %s", "entry"),
			 -EIO);
	assert_int_equal(err.code, -EIO);
	assert_int_equal(err.defect, 12);
	assert_int_equal(err.host_off, 4096);
	assert_string_equal(err.message, "bad entry");
}

TEST(nobody_has_to_ask_why)
{
	assert_int_equal(error_set(NULL, -EPERM, "x"), -EPERM);
	assert_int_equal(error_defect(NULL, -EIO, 1, 0, "x"), -EIO);
	assert_int_equal(error_prefix(NULL, -EAGAIN, "x"), -EAGAIN);
	assert_int_equal(error_nomem(NULL, "a table", 1), -ENOMEM);
	assert_int_equal(error_in_layer(NULL, -EIO, 1), -EIO);
	assert_int_equal(error_reason(NULL, -EIO, 1, "x"), -EIO);
}

TEST(context_goes_in_front_and_the_rest_stays)
{
	struct qcow2_error err;

	error_defect(&err, -EIO, 12, 4096, "bad entry");
	assert_int_equal(error_prefix(&err, -EINVAL, "disk %d", 3), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_int_equal(err.defect, 12);
	assert_int_equal(err.host_off, 4096);
	assert_string_equal(err.message, "disk 3: bad entry");
}

TEST(long_messages_are_cut_and_terminated)
{
	struct qcow2_error err;
	char name[1000];

	memset(name, 'n', sizeof(name));
	error_set(&err, -EIO, "%.*s", (int)sizeof(name), name);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	error_prefix(&err, -EIO, "%.*s", 100, name);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	error_prefix(&err, -EIO, "%.*s", (int)sizeof(name), name);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

TEST(short_memory_names_what_and_how_much)
{
	struct qcow2_error err;

	assert_int_equal(error_nomem(&err, "the L1 table", 4096), -ENOMEM);
	assert_non_null(strstr(err.message, "the L1 table"));
	assert_non_null(strstr(err.message, "4096"));
}

TEST(want_of_room_has_three_codes)
{
	assert_true(error_is_no_room(-ENOSPC));
	assert_true(error_is_no_room(-EDQUOT));
	assert_true(error_is_no_room(-EFBIG));
	assert_false(error_is_no_room(-EIO));
	assert_false(error_is_no_room(0));
}
