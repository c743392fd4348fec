/*
 * The public header by itself, included twice, in the language of its users:
 * compiled (not run) by header-alone.sh as C99, C11, C17 and C++11.
 */
#include <qcow2.h>

int main(void)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_check_opts check = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_dump_opts dump = QCOW2_DUMP_OPTS_INIT;
	struct qcow2_compare_opts compare = QCOW2_COMPARE_OPTS_INIT;
	struct qcow2_convert_opts convert = QCOW2_CONVERT_OPTS_INIT;
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_snapshot_info snapshot = QCOW2_SNAPSHOT_INFO_INIT;
	struct qcow2_bitmap_info bitmap = QCOW2_BITMAP_INFO_INIT;
	struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;
	struct qcow2_stats stats = QCOW2_STATS_INIT;
	struct qcow2_compact_result compacted = QCOW2_COMPACT_RESULT_INIT;
	struct qcow2_check_result checked = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_compare_result compared = QCOW2_COMPARE_RESULT_INIT;
	struct qcow2_budget budget = QCOW2_BUDGET_INIT;
	struct qcow2_error error;

	open.gate = &gate;
	open.budget = budget;
	open.format = QCOW2_FORMAT_RAW;
	error.code = 0;
	if (info.struct_size == snapshot.struct_size ||
	    bitmap.struct_size == luks.struct_size ||
	    stats.struct_size == luks.struct_size ||
	    compacted.struct_size == checked.struct_size ||
	    dump.what != QCOW2_DUMP_HEADER ||
	    compared.difference != QCOW2_IDENTICAL)
		return 1;
#if !QCOW2_VERSION_AT_LEAST(0, 1, 0)
#error "this is an older version"
#endif
	return open.struct_size == create.struct_size &&
	       check.struct_size == compare.struct_size &&
	       convert.struct_size == 0 && error.code != 0;
}
