/*
 * qcow2_create_*: argument checks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "api/handle.h"
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

static int take_store_opts(struct qcow2_store *store,
			   const struct qcow2_create_opts *opts,
			   struct qcow2_create_opts *own,
			   struct qcow2_error *err)
{
	int rc;

	if (!store)
		return error_set(err, -EINVAL, "the store is NULL");
	rc = copy_opts(own, opts, err);
	if (rc == 0 && own->flags & PATH_FLAGS)
		return error_set(err, -EINVAL,
				 "flags 0x%" PRIx32
				 " are for paths: a store is what it is",
				 own->flags & PATH_FLAGS);
	return rc;
}

int qcow2_create_store(struct qcow2_store *store, struct qcow2_store *data,
		       const struct qcow2_create_opts *opts,
		       struct qcow2_error *err)
{
	struct qcow2_create_opts own;
	int rc = take_store_opts(store, opts, &own, err);

	return rc < 0 ? rc : make_in_stores(store, data, &own, err);
}

static int take_path_opts(const char *path,
			  const struct qcow2_create_opts *opts,
			  struct qcow2_create_opts *own, unsigned *how,
			  struct qcow2_error *err)
{
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "the path is NULL");
	rc = copy_opts(own, opts, err);
	if (rc == 0)
		rc = jobs_path_flags(own->flags, 0, how, err);
	if (rc == 0 && own->placement)
		rc = options_check_result(own->placement, err);
	return rc;
}

int qcow2_create_path(const char *path, const struct qcow2_create_opts *opts,
		      struct qcow2_error *err)
{
	struct qcow2_create_opts own;
	unsigned how;
	int rc = take_path_opts(path, opts, &own, &how, err);

	return rc < 0 ? rc : make_empty(path, &own, how, err);
}

/* ---- Created and opened -------------------------------------------------- */

/* Options for opening what is there no second time. */
static int take_opening(const struct qcow2_open_opts *opts,
			struct qcow2_image **out, struct qcow2_open_opts *own,
			struct qcow2_gate *gate, struct qcow2_error *err)
{
	int rc = out ? 0 : error_set(err, -EINVAL, "out is NULL");

	if (rc == 0)
		rc = handle_take_opts(opts, QCOW2_OPEN_RDWR, own, gate, err);
	if (rc < 0)
		return rc;
	if (own->flags & QCOW2_OPEN_NO_LOCK)
		return error_set(err, -EINVAL,
				 "QCOW2_OPEN_NO_LOCK: a new image is locked "
				 "from its beginning on");
	if (own->format > QCOW2_FORMAT_QCOW2)
		return error_set(err, -EINVAL,
				 "format %" PRIu32
				 ": what is created is a qcow2 image",
				 own->format);
	return 0;
}

int qcow2_create_open_store(struct qcow2_store *store, struct qcow2_store *data,
			    const struct qcow2_create_opts *create,
			    const struct qcow2_open_opts *open,
			    struct qcow2_image **out, struct qcow2_error *err)
{
	struct qcow2_create_opts own_create;
	struct qcow2_open_opts own_open;
	struct qcow2_gate gate;
	struct disk *disk;
	int rc = take_store_opts(store, create, &own_create, err);

	if (rc == 0)
		rc = take_opening(open, out, &own_open, &gate, err);
	if (rc == 0)
		rc = make_open_in_stores(store, data, &own_create, &own_open,
					 &disk, err);
	return rc < 0 ? rc : handle_new(disk, out, err);
}

int qcow2_create_open_path(const char *path,
			   const struct qcow2_create_opts *create,
			   const struct qcow2_open_opts *open,
			   struct qcow2_image **out, struct qcow2_error *err)
{
	struct qcow2_create_opts own_create;
	struct qcow2_open_opts own_open;
	struct qcow2_gate gate;
	struct disk *disk;
	unsigned how;
	int rc = take_path_opts(path, create, &own_create, &how, err);

	if (rc == 0)
		rc = take_opening(open, out, &own_open, &gate, err);
	if (rc == 0)
		rc = make_open_empty(path, &own_create, how, &own_open, &disk,
				     err);
	return rc < 0 ? rc : handle_new(disk, out, err);
}
