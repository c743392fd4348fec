/*
 * qcow2_create_*: argument checks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "api/jobs.h"
#include "base/error.h"
#include "base/options.h"
#include "create/create.h"
#include "ops/make.h"

#define PATH_FLAGS \
	(QCOW2_CREATE_EXCL | QCOW2_CREATE_IN_PLACE | QCOW2_CREATE_REPLACE)

/* A size that was forgotten must not replace a disk by one of no bytes. */
static int api_create_check_size(const struct qcow2_create_opts *opts,
				 struct qcow2_error *err)
{
	bool zero = opts->flags & QCOW2_CREATE_SIZE_ZERO;

	if (!opts->virtual_size == zero)
		return 0;
	return error_set(err, -EINVAL,
			 zero ? "virtual_size is set, and so is the flag that "
				"says that it is 0"
			      : "virtual_size is not set: a disk of no bytes "
				"needs QCOW2_CREATE_SIZE_ZERO");
}

static int copy_opts(struct qcow2_create_opts *dst,
		     const struct qcow2_create_opts *src,
		     struct qcow2_error *err)
{
	int rc = options_copy(dst, sizeof(*dst), src, "qcow2_create_opts", err);

	if (rc == 0)
		rc = create_check_opts(dst, err);
	return rc < 0 ? rc : api_create_check_size(dst, err);
}

int qcow2_create_store(struct qcow2_store *store, struct qcow2_store *data,
		       const struct qcow2_create_opts *opts,
		       struct qcow2_error *err)
{
	struct qcow2_create_opts o;
	int rc;

	if (!store)
		return error_set(err, -EINVAL, "the store is NULL");
	rc = copy_opts(&o, opts, err);
	if (rc == 0 && o.flags & PATH_FLAGS)
		return error_set(err, -EINVAL,
				 "flags 0x%" PRIx32
				 " are for paths: a store is what it is",
				 o.flags & PATH_FLAGS);
	return rc < 0 ? rc : make_in_stores(store, data, &o, err);
}

int qcow2_create_path(const char *path, const struct qcow2_create_opts *opts,
		      struct qcow2_error *err)
{
	struct qcow2_create_opts o;
	unsigned how;
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "the path is NULL");
	rc = copy_opts(&o, opts, err);
	if (rc == 0)
		rc = jobs_path_flags(o.flags, 0, &how, err);
	if (rc == 0 && o.placement)
		rc = options_check_result(o.placement, err);
	return rc < 0 ? rc : make_empty(path, &o, how, err);
}
