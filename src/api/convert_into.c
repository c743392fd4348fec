/*
 * qcow2_convert_into(): argument checks.
 */
#include <errno.h>

#include "api/handle.h"
#include "api/jobs.h"
#include "base/error.h"
#include "ops/into.h"

#define FLAGS (QCOW2_CONVERT_COMPRESS | QCOW2_CONVERT_TARGET_IS_ZERO)

static int api_convert_into_take_opts(const struct qcow2_convert_opts *opts,
				      struct qcow2_convert_opts *own,
				      struct qcow2_error *err)
{
	int rc = jobs_take_convert_opts(opts, FLAGS, own, err);

	if (rc == 0 && (own->flags & QCOW2_CONVERT_DIRECT))
		return error_set(err, -EINVAL,
				 "QCOW2_CONVERT_DIRECT is for paths: an open "
				 "image has decided already");
	return rc;
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
		rc = api_convert_into_take_opts(opts, &own, err);
	if (rc < 0)
		return rc;
	if (img == target)
		return error_set(err, -EINVAL,
				 "source and target are the same image");
	return ops_convert_into(img->disk, target->disk,
				own.backing ? own.backing->disk : NULL, &own,
				err);
}
