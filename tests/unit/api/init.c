/*
 * The defaults that other languages get are those of the _INIT macros.
 */
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

#define ASSERT_SAME_DEFAULTS(name, macro)                          \
	do {                                                       \
		struct qcow2_##name expected = macro;              \
		struct qcow2_##name got;                           \
                                                                   \
		memset(&got, 0x55, sizeof(got));                   \
		qcow2_##name##_init(&got, sizeof(got));            \
		assert_int_equal(got.struct_size, sizeof(got));    \
		assert_memory_equal(&got, &expected, sizeof(got)); \
	} while (0)

TEST(functions_give_what_the_macros_give)
{
	ASSERT_SAME_DEFAULTS(open_opts, QCOW2_OPEN_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(gate, QCOW2_GATE_INIT);
	ASSERT_SAME_DEFAULTS(store_ops, QCOW2_STORE_OPS_INIT);
	ASSERT_SAME_DEFAULTS(snapshot_opts, QCOW2_SNAPSHOT_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(create_opts, QCOW2_CREATE_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(resize_opts, QCOW2_RESIZE_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(amend_opts, QCOW2_AMEND_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(compact_opts, QCOW2_COMPACT_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(check_opts, QCOW2_CHECK_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(dump_opts, QCOW2_DUMP_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(compare_opts, QCOW2_COMPARE_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(convert_opts, QCOW2_CONVERT_OPTS_INIT);
	ASSERT_SAME_DEFAULTS(placement, QCOW2_PLACEMENT_INIT);
}

TEST(results_have_macros_too)
{
	ASSERT_SAME_DEFAULTS(info, QCOW2_INFO_INIT);
	ASSERT_SAME_DEFAULTS(snapshot_info, QCOW2_SNAPSHOT_INFO_INIT);
	ASSERT_SAME_DEFAULTS(bitmap_info, QCOW2_BITMAP_INFO_INIT);
	ASSERT_SAME_DEFAULTS(luks_info, QCOW2_LUKS_INFO_INIT);
	ASSERT_SAME_DEFAULTS(limits, QCOW2_LIMITS_INIT);
	ASSERT_SAME_DEFAULTS(stats, QCOW2_STATS_INIT);
	ASSERT_SAME_DEFAULTS(usage, QCOW2_USAGE_INIT);
	ASSERT_SAME_DEFAULTS(diff_extent, QCOW2_DIFF_EXTENT_INIT);
	ASSERT_SAME_DEFAULTS(compact_result, QCOW2_COMPACT_RESULT_INIT);
	ASSERT_SAME_DEFAULTS(check_result, QCOW2_CHECK_RESULT_INIT);
	ASSERT_SAME_DEFAULTS(compare_result, QCOW2_COMPARE_RESULT_INIT);
}

/* A binding that was made for an older header has a smaller structure. */
TEST(only_the_callers_bytes_are_touched)
{
	struct qcow2_open_opts opts;

	memset(&opts, 0x55, sizeof(opts));
	qcow2_open_opts_init(&opts, sizeof(opts.struct_size) + 4);
	assert_int_equal(opts.struct_size, sizeof(opts.struct_size) + 4);
	assert_int_equal(opts.flags, 0);
	assert_int_equal(opts.format, 0x55555555);
	qcow2_open_opts_init(&opts, 3);
	assert_int_equal(opts.struct_size, sizeof(opts.struct_size) + 4);
}

TEST(the_version_is_a_number_that_can_be_compared)
{
	assert_int_equal(qcow2_version_number(), QCOW2_VERSION_NUMBER);
	assert_true(QCOW2_VERSION_AT_LEAST(0, 0, 999));
	assert_true(QCOW2_VERSION_AT_LEAST(
		QCOW2_VERSION_MAJOR, QCOW2_VERSION_MINOR, QCOW2_VERSION_PATCH));
	assert_false(QCOW2_VERSION_AT_LEAST(QCOW2_VERSION_MAJOR,
					    QCOW2_VERSION_MINOR,
					    QCOW2_VERSION_PATCH + 1));
}

TEST(unknown_capabilities_are_not_there)
{
	assert_int_equal(qcow2_supports(0), 0);
	assert_int_equal(qcow2_supports(UINT32_MAX), 0);
#ifdef HAVE_ISAL
	assert_int_equal(qcow2_supports(QCOW2_CAP_FAST_LEVELS), 1);
#else
	assert_int_equal(qcow2_supports(QCOW2_CAP_FAST_LEVELS), 0);
#endif
}

TEST(defects_are_numbered_from_one_to_their_count)
{
	uint32_t n = qcow2_defect_count();

	assert_true(n > 0);
	for (uint32_t i = 1; i <= n; i++)
		assert_non_null(qcow2_defect_name((int)i));
	assert_null(qcow2_defect_name((int)n + 1));
	assert_null(qcow2_defect_name(0));
}
