/*
 * qcow2_create_*: new images.
 *
 * An image at a path is made beside its place and published when complete, its
 * data file first: an image never names a data file that is not there yet.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <qcow2.h>

#include "api/create.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/options.h"
#include "image/create.h"
#include "store/hold.h"
#include "store/publish.h"

static int copy_opts(struct qcow2_create_opts *dst,
		     const struct qcow2_create_opts *src,
		     struct qcow2_error *err)
{
	int rc = options_copy(dst, sizeof(*dst), src, "qcow2_create_opts", err);

	return rc < 0 ? rc : create_check_opts(dst, err);
}

static int create_held(struct qcow2_store *store, struct qcow2_store *data,
		       const struct qcow2_create_opts *opts,
		       struct qcow2_error *err)
{
	CLEANUP_HOLD struct store_hold hold = { 0 };
	CLEANUP_HOLD struct store_hold data_hold = { 0 };
	int rc = store_hold(&hold, store, true, err);

	if (rc == 0 && data)
		rc = store_hold(&data_hold, data, true, err);
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
	return rc < 0 ? rc : create_held(store, data, &o, err);
}

static size_t dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

char *create_data_path(const char *image_path, const char *name)
{
	size_t dir = name[0] == '/' ? 0 : dir_len(image_path);
	size_t name_len = strlen(name);
	char *path = malloc(dir + name_len + 1);

	if (!path)
		return NULL;
	memcpy(path, image_path, dir);
	memcpy(path + dir, name, name_len + 1);
	return path;
}

static bool same_dir(const char *a, const char *b)
{
	CLEANUP_FREE char *dir_a = strndup(a, dir_len(a));
	CLEANUP_FREE char *dir_b = strndup(b, dir_len(b));
	struct stat st_a;
	struct stat st_b;

	if (!dir_a || !dir_b || stat(*dir_a ? dir_a : ".", &st_a) < 0 ||
	    stat(*dir_b ? dir_b : ".", &st_b) < 0)
		return false;
	return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

int create_check_apart(const char *image, const char *data,
		       struct qcow2_error *err)
{
	if (strcmp(image + dir_len(image), data + dir_len(data)) ||
	    !same_dir(image, data))
		return 0;
	return error_set(err, -EINVAL, "data_file is the image itself");
}

static int create_plain(const char *path, const struct qcow2_create_opts *opts,
			struct qcow2_error *err)
{
	struct publish image;
	int rc = publish_begin(&image, path, 0, err);

	if (rc < 0)
		return rc;
	rc = image_create(image.store, NULL, opts, err);
	if (rc < 0) {
		publish_abort(&image);
		return rc;
	}
	return publish_commit(&image, true, err);
}

static int fill_both(struct publish *image, struct publish *data,
		     const struct qcow2_create_opts *opts,
		     struct qcow2_error *err)
{
	/* Again, since symbolic links have been followed only now. */
	int rc = create_check_apart(image->final_path, data->final_path, err);

	return rc < 0 ? rc : image_create(image->store, data->store, opts, err);
}

static int create_both(const char *path, const char *data_path,
		       const struct qcow2_create_opts *opts,
		       struct qcow2_error *err)
{
	struct publish image;
	struct publish data;
	int rc = publish_begin(&image, path, 0, err);

	if (rc < 0)
		return rc;
	rc = publish_begin(&data, data_path, 0, err);
	if (rc < 0) {
		publish_abort(&image);
		return error_prefix(err, rc, "data_file");
	}
	rc = fill_both(&image, &data, opts, err);
	if (rc < 0)
		publish_abort(&data);
	else
		rc = publish_commit(&data, true, err);
	if (rc < 0) {
		publish_abort(&image);
		return rc;
	}
	return publish_commit(&image, true, err);
}

static int create_with_data(const char *path,
			    const struct qcow2_create_opts *opts,
			    struct qcow2_error *err)
{
	CLEANUP_FREE char *data_path = create_data_path(path, opts->data_file);
	int rc;

	if (!data_path)
		return error_nomem(err, "the path of the data file",
				   strlen(path) + strlen(opts->data_file));
	rc = create_check_apart(path, data_path, err);
	return rc < 0 ? rc : create_both(path, data_path, opts, err);
}

int qcow2_create_path(const char *path, const struct qcow2_create_opts *opts,
		      struct qcow2_error *err)
{
	struct qcow2_create_opts o;
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "the path is NULL");
	rc = copy_opts(&o, opts, err);
	if (rc < 0)
		return rc;
	return o.data_file ? create_with_data(path, &o, err)
			   : create_plain(path, &o, err);
}
