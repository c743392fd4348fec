/*
 * qcow2_create_*: new images.
 *
 * An image at a path is made beside its place and published when complete, its
 * data file first: an image never names a data file that is not there yet.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <qcow2.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/options.h"
#include "image/create.h"
#include "store/file.h"
#include "store/publish.h"
#include "store/store.h"

/* A file in the making, and the hold on what it will replace. */
struct target {
	struct publish publish;
	struct qcow2_store *old; /* locked, so that nobody is using it; NULL
				  * when nothing, or a device, is there */
};

static int copy_opts(struct qcow2_create_opts *dst,
		     const struct qcow2_create_opts *src,
		     struct qcow2_error *err)
{
	int rc = options_copy(dst, sizeof(*dst), src, "qcow2_create_opts", err);

	return rc < 0 ? rc : create_check_opts(dst, err);
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
	return rc < 0 ? rc : image_create(store, data, &o, err);
}

/* @name as the image at @image_path will find it: relative to its directory.
 * The caller frees the result; NULL when memory is short. */
static char *resolve_name(const char *image_path, const char *name)
{
	const char *slash = strrchr(image_path, '/');
	size_t dir_len = slash && name[0] != '/'
			 ? (size_t)(slash - image_path) + 1 : 0;
	size_t name_len = strlen(name);
	char *path = malloc(dir_len + name_len + 1);

	if (!path)
		return NULL;
	memcpy(path, image_path, dir_len);
	memcpy(path + dir_len, name, name_len + 1);
	return path;
}

/* A regular file that is in use by another program must not be replaced. */
static int hold_old(struct target *t, const char *path, struct qcow2_error *err)
{
	struct stat st;
	int rc;

	t->old = NULL;
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0; /* the rest is publish's to judge */
	rc = store_file_open(path, QCOW2_STORE_RDWR, &t->old, err);
	if (rc < 0)
		return rc;
	rc = store_lock(t->old, QCOW2_STORE_LOCK_WRITE, err);
	if (rc < 0)
		store_unref(t->old);
	return rc;
}

static int target_begin(struct target *t, const char *path,
			struct qcow2_error *err)
{
	int rc = hold_old(t, path, err);

	if (rc < 0)
		return rc;
	rc = publish_begin(&t->publish, path, 0, err);
	if (rc < 0) {
		store_unref(t->old);
		return rc;
	}
	if (!t->publish.in_place)
		return 0;
	rc = store_lock(t->publish.store, QCOW2_STORE_LOCK_WRITE, err);
	if (rc < 0)
		publish_abort(&t->publish);
	return rc;
}

static void target_abort(struct target *t)
{
	publish_abort(&t->publish);
	store_unref(t->old);
}

static int target_commit(struct target *t, struct qcow2_error *err)
{
	int rc = publish_commit(&t->publish, true, err);

	store_unref(t->old);
	return rc;
}

static int create_plain(const char *path, const struct qcow2_create_opts *opts,
			struct qcow2_error *err)
{
	struct target image;
	int rc = target_begin(&image, path, err);

	if (rc < 0)
		return rc;
	rc = image_create(image.publish.store, NULL, opts, err);
	if (rc < 0) {
		target_abort(&image);
		return rc;
	}
	return target_commit(&image, err);
}

static int create_two(struct target *image, struct target *data,
		      const struct qcow2_create_opts *opts,
		      struct qcow2_error *err)
{
	int rc;

	if (!strcmp(image->publish.final_path, data->publish.final_path))
		rc = error_set(err, -EINVAL, "data_file is the image itself");
	else
		rc = image_create(image->publish.store, data->publish.store,
				  opts, err);
	if (rc < 0) {
		target_abort(data);
		target_abort(image);
		return rc;
	}
	rc = target_commit(data, err);
	if (rc < 0) {
		target_abort(image);
		return rc;
	}
	return target_commit(image, err);
}

static int create_with_data(const char *path,
			    const struct qcow2_create_opts *opts,
			    struct qcow2_error *err)
{
	CLEANUP_FREE char *data_path = resolve_name(path, opts->data_file);
	struct target image;
	struct target data;
	int rc;

	if (!data_path)
		return error_nomem(err, "the path of the data file",
				   strlen(path) + strlen(opts->data_file));
	rc = target_begin(&image, path, err);
	if (rc < 0)
		return rc;
	rc = target_begin(&data, data_path, err);
	if (rc < 0) {
		target_abort(&image);
		return error_prefix(err, rc, "data_file");
	}
	return create_two(&image, &data, opts, err);
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
