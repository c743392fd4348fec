#include "api/args.h"

#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "base/options.h"
#include "base/zero.h"

int args_check_budget(const struct qcow2_budget *b, struct qcow2_error *err)
{
	if (b->reserved || !is_zero(b->more, sizeof(b->more)))
		return error_set(err, -EINVAL,
				 "a reserved field of qcow2_budget is not 0");
	return 0;
}

int args_take_gate(struct qcow2_gate *own, const struct qcow2_gate *gate,
		   struct qcow2_error *err)
{
	int rc = options_copy(own, sizeof(*own), gate, "qcow2_gate", err);

	if (rc == 0 && own->mode > QCOW2_EXTERNAL_ANY)
		rc = error_set(err, -EINVAL,
			       "external reference mode %" PRIu32
			       " does not exist",
			       own->mode);
	if (rc == 0 && own->reserved)
		rc = error_set(err, -EINVAL, "qcow2_gate.reserved is not 0");
	return rc;
}
