/*
 * The consistency check, by path or over a store.
 */
#include "check/check.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "api/args.h"
#include "base/error.h"
#include "base/options.h"
#include "base/text.h"
#include "repair/repair.h"
#include "store/file.h"
#include "store/hold.h"
#include "store/store.h"

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

static int check_held(struct qcow2_store *store,
		      const struct qcow2_check_opts *opts,
		      struct qcow2_check_result *result,
		      struct qcow2_error *err)
{
	struct qcow2_check_result full = { .struct_size = sizeof(full) };
	CLEANUP_HOLD struct store_hold hold = { 0 };
	bool repairs = opts->flags & REPAIR_FLAGS;
	int rc = repairs ? store_check_writable(store, err) : 0;

	if (rc == 0 && !(opts->flags & QCOW2_CHECK_NO_LOCK))
		rc = store_hold(&hold, store, repairs ? HOLD_WRITE : HOLD_READ,
				err);
	if (rc < 0)
		return rc;
	if (repairs)
		rc = repair_store(store, opts,
				  opts->flags & QCOW2_CHECK_REPAIR_ALL
					  ? REPAIR_ALL
					  : REPAIR_LEAKS,
				  &full, err);
	else
		rc = check_store(store, opts, &full, err);
	if (rc < 0)
		return rc;
	full.unlocked = hold.store && store_is_unlocked(store);
	return options_give(result, &full, sizeof(full), err);
}

int qcow2_check_store(struct qcow2_store *store,
		      const struct qcow2_check_opts *opts,
		      struct qcow2_check_result *result,
		      struct qcow2_error *err)
{
	struct qcow2_check_opts own;
	int rc;

	if (!store)
		return error_set(err, -EINVAL, "store must not be NULL");
	rc = take_args(opts, &own, result, err);
	return rc < 0 ? rc : check_held(store, &own, result, err);
}

int qcow2_check_path(const char *path, const struct qcow2_check_opts *opts,
		     struct qcow2_check_result *result, struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *store = NULL;
	struct qcow2_check_opts own;
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "path must not be NULL");
	rc = take_args(opts, &own, result, err);
	if (rc == 0)
		rc = store_file_open(
			path, own.flags & REPAIR_FLAGS ? QCOW2_STORE_RDWR : 0,
			&store, err);
	return rc < 0 ? rc : check_held(store, &own, result, err);
}
