#include "repair/check.h"

#include <stdbool.h>

#include "check/check.h"
#include "repair/repair.h"
#include "store/file.h"
#include "store/hold.h"
#include "store/store.h"

static bool wants_repair(const struct qcow2_check_opts *opts)
{
	return opts->flags &
	       (QCOW2_CHECK_REPAIR_LEAKS | QCOW2_CHECK_REPAIR_ALL);
}

static int check_or_repair(struct qcow2_store *store,
			   const struct qcow2_check_opts *opts,
			   struct qcow2_check_result *result,
			   struct qcow2_error *err)
{
	enum repair_what what = opts->flags & QCOW2_CHECK_REPAIR_ALL
					? REPAIR_ALL
					: REPAIR_LEAKS;

	return wants_repair(opts) ? repair_store(store, opts, what, result, err)
				  : check_store(store, opts, result, err);
}

int repair_check_store(struct qcow2_store *store,
		       const struct qcow2_check_opts *opts,
		       struct qcow2_check_result *result,
		       struct qcow2_error *err)
{
	CLEANUP_HOLD struct store_hold hold = { 0 };
	bool repairs = wants_repair(opts);
	int rc = repairs ? store_check_writable(store, err) : 0;

	if (rc == 0 && !(opts->flags & QCOW2_CHECK_NO_LOCK))
		rc = store_hold(&hold, store, repairs ? HOLD_WRITE : HOLD_READ,
				err);
	if (rc == 0)
		rc = check_or_repair(store, opts, result, err);
	if (rc < 0)
		return rc;
	result->unlocked = hold.store && store_is_unlocked(store);
	return 0;
}

int repair_check_path(const char *path, const struct qcow2_check_opts *opts,
		      struct qcow2_check_result *result,
		      struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *store = NULL;
	int rc = store_file_open(
		path, wants_repair(opts) ? QCOW2_STORE_RDWR : 0, &store, err);

	return rc < 0 ? rc : repair_check_store(store, opts, result, err);
}
