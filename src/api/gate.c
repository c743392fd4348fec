/*
 * The built-in rule of the gate, for callbacks: argument checks.
 */
#include "chain/gate.h"

#include <errno.h>
#include <inttypes.h>

#include "api/args.h"
#include "base/error.h"

#define REFERENCE_FLAGS \
	(QCOW2_STORE_RDWR | QCOW2_STORE_DIRECT | QCOW2_STORE_NO_FLUSH)

static int check_reference(const struct qcow2_reference *ref,
			   struct qcow2_error *err)
{
	if (!ref)
		return error_set(err, -EINVAL, "ref is NULL");
	if (ref->struct_size < sizeof(*ref) || !ref->origin || !ref->name ||
	    !ref->image)
		return error_set(err, -EINVAL,
				 "the reference is not one that the library "
				 "made");
	if (ref->flags & ~REFERENCE_FLAGS)
		return error_set(err, -EINVAL,
				 "flags 0x%" PRIx32 " of the reference are not "
				 "known",
				 ref->flags & ~REFERENCE_FLAGS);
	return 0;
}

int qcow2_gate_default(const struct qcow2_gate *gate,
		       const struct qcow2_reference *ref,
		       struct qcow2_store **out, struct qcow2_error *err)
{
	struct qcow2_gate own;
	int rc = check_reference(ref, err);

	if (rc == 0 && !out)
		rc = error_set(err, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = args_take_gate(&own, gate, err);
	return rc < 0 ? rc : gate_default(&own, ref, out, err);
}
