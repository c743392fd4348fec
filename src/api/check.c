/*
 * The consistency check, by path or over a store: argument checks.
 */
#include "repair/check.h"

#include <errno.h>
#include <inttypes.h>

#include "api/args.h"
#include "base/error.h"
#include "base/options.h"

#define REPAIR_FLAGS (QCOW2_CHECK_REPAIR_LEAKS | QCOW2_CHECK_REPAIR_ALL)
#define CHECK_FLAGS_KNOWN (QCOW2_CHECK_NO_LOCK | REPAIR_FLAGS)

static int api_check_take_opts(const struct qcow2_check_opts *opts,
			       struct qcow2_check_opts *own,
			       struct qcow2_error *err)
{
	int rc = options_copy(own, sizeof(*own), opts, "qcow2_check_opts", err);

	if (rc < 0)
		return rc;
	if (own->flags & ~CHECK_FLAGS_KNOWN)
		return error_set(err, -EINVAL,
				 "check flags 0x%" PRIx32 " are not known",
				 own->flags & ~CHECK_FLAGS_KNOWN);
	if ((own->flags & REPAIR_FLAGS) && (own->flags & QCOW2_CHECK_NO_LOCK))
		return error_set(err, -EINVAL,
				 "an image cannot be repaired without a lock");
	if (own->reserved)
		return error_set(err, -EINVAL,
				 "qcow2_check_opts.reserved is not 0");
	return args_check_budget(&own->budget, err);
}

/* Requests that could not be answered are refused before anything is
 * repaired. */
static int take_args(const struct qcow2_check_opts *opts,
		     struct qcow2_check_opts *own,
		     const struct qcow2_check_result *result,
		     struct qcow2_error *err)
{
	int rc = options_check_result(result, err);

	return rc < 0 ? rc : api_check_take_opts(opts, own, err);
}

int qcow2_check_store(struct qcow2_store *store,
		      const struct qcow2_check_opts *opts,
		      struct qcow2_check_result *result,
		      struct qcow2_error *err)
{
	struct qcow2_check_result full = { .struct_size = sizeof(full) };
	struct qcow2_check_opts own;
	int rc;

	if (!store)
		return error_set(err, -EINVAL, "store must not be NULL");
	rc = take_args(opts, &own, result, err);
	if (rc == 0)
		rc = repair_check_store(store, &own, &full, err);
	return rc < 0 ? rc : options_give(result, &full, sizeof(full), err);
}

int qcow2_check_path(const char *path, const struct qcow2_check_opts *opts,
		     struct qcow2_check_result *result, struct qcow2_error *err)
{
	struct qcow2_check_result full = { .struct_size = sizeof(full) };
	struct qcow2_check_opts own;
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "path must not be NULL");
	rc = take_args(opts, &own, result, err);
	if (rc == 0)
		rc = repair_check_path(path, &own, &full, err);
	return rc < 0 ? rc : options_give(result, &full, sizeof(full), err);
}
