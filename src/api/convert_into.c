/*
 * qcow2_convert_into(): the contents of one image written into another.
 */
#include <errno.h>
#include <inttypes.h>

#include "api/handle.h"
#include "api/jobs.h"
#include "base/error.h"
#include "ops/apart.h"
#include "ops/fill.h"

#define FLAGS (QCOW2_CONVERT_COMPRESS | QCOW2_CONVERT_TARGET_IS_ZERO)

static int check_compress(struct disk *dst,
			  const struct qcow2_convert_opts *opts,
			  struct qcow2_error *err)
{
	if (!(opts->flags & QCOW2_CONVERT_COMPRESS))
		return 0;
	if (disk_layer_data_filename(dst, 0))
		return error_set(err, -ENOTSUP,
				 "an image with an external data file has no "
				 "compressed clusters");
	return disk_set_level(dst, opts->compress_level, err);
}

static int check_target(const struct disk *src, struct disk *dst,
			const struct qcow2_convert_opts *opts,
			struct qcow2_error *err)
{
	int rc;

	if (src == dst)
		return error_set(err, -EINVAL,
				 "source and target are the same image");
	if (disk_size(dst) < disk_size(src))
		return error_set(err, -ENOSPC,
				 "output file is smaller than input file: the "
				 "target has %" PRIu64
				 " bytes, the source %" PRIu64,
				 disk_size(dst), disk_size(src));
	if ((opts->flags & QCOW2_CONVERT_TARGET_IS_ZERO) &&
	    (opts->backing || disk_layer_count(dst) > 1))
		return error_set(err, -EINVAL,
				 "a target with a backing file is not taken to "
				 "be zero");
	if (opts->flags & QCOW2_CONVERT_DIRECT)
		return error_set(err, -EINVAL,
				 "QCOW2_CONVERT_DIRECT is for paths: an open "
				 "image has decided already");
	rc = apart_check_disk(dst, src, "the source", err);
	return rc < 0 ? rc : check_compress(dst, opts, err);
}

int qcow2_convert_into(struct qcow2_image *img, struct qcow2_image *target,
		       const struct qcow2_convert_opts *opts,
		       struct qcow2_error *err)
{
	struct qcow2_convert_opts own;
	int rc;

	rc = handle_check(img, err);
	if (rc == 0)
		rc = handle_check(target, err);
	if (rc == 0)
		rc = jobs_take_convert_opts(opts, FLAGS, &own, err);
	if (rc == 0)
		rc = check_target(img->disk, target->disk, &own, err);
	/* Of nothing, to learn whether it may be written at all. */
	if (rc == 0)
		rc = disk_pwritev(target->disk, NULL, 0, 0, 0, err);
	if (rc == 0)
		rc = ops_fill_existing(img->disk, target->disk,
				       own.backing ? own.backing->disk : NULL,
				       &own, err);
	if (rc == 0 && !(own.flags & QCOW2_CONVERT_NO_SYNC))
		rc = disk_flush(target->disk, err);
	return rc;
}
