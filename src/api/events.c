/*
 * What an image tells of itself: argument checks, then the chain.
 */
#include <errno.h>

#include "api/handle.h"
#include "base/error.h"

int qcow2_set_event_fn(struct qcow2_image *img, qcow2_event_fn *fn,
		       void *opaque, void (*free_opaque)(void *opaque),
		       struct qcow2_error *err)
{
	int rc = handle_check(img, err);

	if (rc < 0)
		return rc;
	if (!fn && free_opaque)
		return error_set(err, -EINVAL,
				 "free_opaque goes with a function");
	return disk_set_event_fn(img->disk, fn, opaque, free_opaque, err);
}

int qcow2_set_write_threshold(struct qcow2_image *img, uint64_t host_off,
			      struct qcow2_error *err)
{
	int rc = handle_check(img, err);

	return rc < 0 ? rc : disk_set_write_threshold(img->disk, host_off, err);
}
