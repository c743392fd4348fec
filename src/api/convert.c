/*
 * qcow2_convert(): argument checks.
 */
#include <errno.h>
#include <inttypes.h>

#include "api/handle.h"
#include "api/jobs.h"
#include "base/error.h"
#include "base/options.h"
#include "compress/encode.h"
#include "create/create.h"
#include "ops/make.h"

static int api_convert_check_size(const struct disk *src,
				  struct qcow2_create_opts *create,
				  struct qcow2_error *err)
{
	if (create->virtual_size == 0)
		create->virtual_size = disk_size(src);
	if (create->virtual_size >= disk_size(src))
		return 0;
	return error_set(err, -EINVAL,
			 "the new image is to have %" PRIu64
			 " bytes, the source has %" PRIu64,
			 create->virtual_size, disk_size(src));
}

static int check_pair(const struct qcow2_convert_opts *opts,
		      const struct qcow2_create_opts *create,
		      struct qcow2_error *err)
{
	if (!opts->backing != !create->backing_file)
		return error_set(err, -EINVAL,
				 "backing_file and the opened backing image "
				 "come together or not at all");
	if ((opts->flags & QCOW2_CONVERT_COMPRESS) && create->data_file)
		return error_set(err, -ENOTSUP,
				 "an image with an external data file has no "
				 "compressed clusters");
	if (opts->backing && (create->preallocation != QCOW2_PREALLOC_OFF))
		return error_set(err, -EINVAL,
				 "preallocated clusters would hide the backing "
				 "file");
	return 0;
}

static int api_convert_take_opts(const struct disk *src,
				 const struct qcow2_convert_opts *opts,
				 struct qcow2_convert_opts *own_opts,
				 const struct qcow2_create_opts *create,
				 struct qcow2_create_opts *own_create,
				 struct qcow2_error *err)
{
	int rc = jobs_take_convert_opts(
		opts, QCOW2_CONVERT_COMPRESS | CONVERT_PATH_FLAGS, own_opts,
		err);

	if (rc == 0)
		rc = options_copy(own_create, sizeof(*own_create), create,
				  "qcow2_create_opts", err);
	if (rc == 0)
		rc = api_convert_check_size(src, own_create, err);
	if (rc == 0)
		rc = create_check_opts(own_create, err);
	if (rc == 0 && (own_opts->flags & QCOW2_CONVERT_COMPRESS))
		rc = encoder_check_level(own_create->compression,
					 own_opts->compress_level, err);
	return rc < 0 ? rc : check_pair(own_opts, own_create, err);
}

int qcow2_convert(struct qcow2_image *img, const char *path,
		  const struct qcow2_convert_opts *opts,
		  const struct qcow2_create_opts *create,
		  struct qcow2_error *err)
{
	struct qcow2_convert_opts own_opts;
	struct qcow2_create_opts own_create;
	struct make_copy_opts copy = { .opts = &own_opts,
				       .create = &own_create };
	unsigned how;
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "the path is NULL");
	rc = handle_check(img, err);
	if (rc < 0)
		return rc;
	copy.src = img->disk;
	rc = api_convert_take_opts(img->disk, opts, &own_opts, create,
				   &own_create, err);
	if (rc == 0)
		rc = jobs_path_flags(own_create.flags, own_opts.flags, &how,
				     err);
	if (rc < 0)
		return rc;
	copy.below = own_opts.backing ? own_opts.backing->disk : NULL;
	return make_copy(path, &copy, how, err);
}
