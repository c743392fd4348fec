/*
 * qcow2_create_*: new images.
 *
 * An image at a path is made beside its place and published when complete, its
 * data file first: an image never names a data file that is not there yet.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include <qcow2.h>

#include "api/target.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/options.h"
#include "base/path.h"
#include "create/create.h"
#include "store/hold.h"
#include "store/publish.h"
#include "store/store.h"

#define PATH_FLAGS \
	(QCOW2_CREATE_EXCL | QCOW2_CREATE_IN_PLACE | QCOW2_CREATE_REPLACE)

/* A size that was forgotten must not replace a disk by one of no bytes. */
static int check_size(const struct qcow2_create_opts *opts,
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
	return rc < 0 ? rc : check_size(dst, err);
}

static int refuse_same(struct qcow2_error *err)
{
	return error_set(err, -EINVAL, "data_file is the image itself");
}

static int hold_for_writing(struct store_hold *hold, struct qcow2_store *store,
			    struct qcow2_error *err)
{
	int rc = store_check_writable(store, err);

	return rc < 0 ? rc : store_hold(hold, store, HOLD_WRITE, err);
}

static int create_held(struct qcow2_store *store, struct qcow2_store *data,
		       const struct qcow2_create_opts *opts,
		       struct qcow2_error *err)
{
	CLEANUP_HOLD struct store_hold hold = { 0 };
	CLEANUP_HOLD struct store_hold data_hold = { 0 };
	int rc = data && store_same_file(store, data) ? refuse_same(err) : 0;

	if (rc == 0)
		rc = hold_for_writing(&hold, store, err);
	if (rc == 0 && data)
		rc = hold_for_writing(&data_hold, data, err);
	return rc < 0 ? rc : image_create(store, data, opts, err);
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
	return rc < 0 ? rc : create_held(store, data, &o, err);
}

static int create_plain(const char *path, const struct qcow2_create_opts *opts,
			const struct publish_opts *where,
			struct qcow2_error *err)
{
	struct publish image;
	int rc = publish_begin(&image, path, where, err);

	if (rc < 0)
		return rc;
	rc = target_check_backing(&image, path, opts, err);
	if (rc == 0)
		rc = image_create(image.store, NULL, opts, err);
	if (rc < 0) {
		publish_abort(&image);
		return rc;
	}
	return publish_commit(&image, true, err);
}

/* *data is there, to be published, on success only. */
static int make_both(struct publish *image, struct publish *data,
		     const char *path, const char *data_path,
		     const struct qcow2_create_opts *opts,
		     const struct publish_opts *where, struct qcow2_error *err)
{
	struct publish_opts where_data = *where;
	int rc = target_check_backing(image, path, opts, err);

	where_data.placement = NULL;

	if (rc == 0)
		rc = target_check_data(image, data_path, err);
	if (rc < 0)
		return rc;
	rc = publish_begin(data, data_path, &where_data, err);
	if (rc < 0)
		return error_prefix(err, rc, "data_file");
	rc = target_check_backing(data, path, opts, err);
	if (rc == 0)
		rc = image_create(image->store, data->store, opts, err);
	if (rc < 0)
		publish_abort(data);
	return rc;
}

static int create_both(const char *path, const char *data_path,
		       const struct qcow2_create_opts *opts,
		       const struct publish_opts *where,
		       struct qcow2_error *err)
{
	struct publish image;
	struct publish data;
	int rc = publish_begin(&image, path, where, err);

	if (rc < 0)
		return rc;
	rc = make_both(&image, &data, path, data_path, opts, where, err);
	if (rc == 0)
		rc = publish_commit(&data, true, err);
	if (rc < 0) {
		publish_abort(&image);
		return rc;
	}
	return publish_commit(&image, true, err);
}

static int create_with_data(const char *path,
			    const struct qcow2_create_opts *opts,
			    const struct publish_opts *where,
			    struct qcow2_error *err)
{
	CLEANUP_FREE char *data_path = path_join(path, opts->data_file);

	if (!data_path)
		return error_nomem(err, "the path of the data file",
				   strlen(path) + strlen(opts->data_file));
	return create_both(path, data_path, opts, where, err);
}

/* Only preallocation makes an image large. */
static int take_where(const struct qcow2_create_opts *opts,
		      struct publish_opts *where, struct qcow2_error *err)
{
	bool is_large = opts->preallocation > QCOW2_PREALLOC_METADATA;
	int rc = target_flags(opts->flags, 0, &where->flags, err);

	where->bytes_max = is_large ? opts->virtual_size : 0;
	where->placement = opts->placement;
	if (rc == 0 && opts->placement)
		rc = options_check_result(opts->placement, err);
	return rc;
}

int qcow2_create_path(const char *path, const struct qcow2_create_opts *opts,
		      struct qcow2_error *err)
{
	struct publish_opts where = { 0 };
	struct qcow2_create_opts o;
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "the path is NULL");
	rc = copy_opts(&o, opts, err);
	if (rc == 0)
		rc = take_where(&o, &where, err);
	if (rc < 0)
		return rc;
	return o.data_file ? create_with_data(path, &o, &where, err)
			   : create_plain(path, &o, &where, err);
}
