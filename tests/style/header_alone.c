/*
 * The public header by itself, included twice, in the language of its users:
 * compiled (not run) by header-alone.sh as C99, C11, C17 and C++11.
 */
#include <qcow2.h>
#include <qcow2.h>

int main(void)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_check_opts check = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_compare_opts compare = QCOW2_COMPARE_OPTS_INIT;
	struct qcow2_convert_opts convert = QCOW2_CONVERT_OPTS_INIT;
	struct qcow2_error error;

	open.gate = &gate;
	error.code = 0;
	return open.struct_size == create.struct_size &&
	       check.struct_size == compare.struct_size &&
	       convert.struct_size == 0 && error.code != 0;
}
