#include "api/args.h"

#include <errno.h>

#include "base/error.h"
#include "base/zero.h"

int args_check_budget(const struct qcow2_budget *b, struct qcow2_error *err)
{
	if (b->reserved || !is_zero(b->more, sizeof(b->more)))
		return error_set(err, -EINVAL,
				 "a reserved field of qcow2_budget is not 0");
	return 0;
}
