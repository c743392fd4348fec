/*
 * Changing what the top layer is: its size, its options.
 */
#include <errno.h>
#include <stdbool.h>

#include "base/error.h"
#include "chain/disk_impl.h"
#include "image/image.h"
#include "reshape/amend.h"
#include "reshape/resize.h"
#include "store/store.h"

static int check_raw(const struct layer *l, uint64_t size,
		     const struct qcow2_resize_opts *opts,
		     struct qcow2_error *err)
{
	bool shrinks = size < l->size;

	if (size > (uint64_t)INT64_MAX)
		return error_set(err, -EFBIG, "the new size is beyond 8 EiB");
	if (shrinks && !(opts->flags & QCOW2_RESIZE_SHRINK))
		return error_set(err, -EINVAL,
				 "the new size is smaller: what lies beyond it "
				 "would be lost, which has to be allowed");
	if (shrinks && opts->preallocation != QCOW2_PREALLOC_OFF)
		return error_set(err, -EINVAL,
				 "preallocation can only be used for growing "
				 "images");
	if (opts->preallocation == QCOW2_PREALLOC_METADATA)
		return error_set(err, -ENOTSUP,
				 "a raw image has no metadata to preallocate");
	return 0;
}

static int resize_raw(struct layer *l, uint64_t size,
		      const struct qcow2_resize_opts *opts,
		      struct qcow2_error *err)
{
	int rc = check_raw(l, size, opts, err);

	if (rc == 0)
		rc = store_truncate(l->store, size, err);
	if (rc == 0 && size > l->size &&
	    opts->preallocation != QCOW2_PREALLOC_OFF) {
		rc = preallocate_space(l->store, size - l->size, l->size,
				       opts->preallocation, err);
		if (rc < 0)
			store_truncate(l->store, l->size, NULL);
	}
	if (rc == 0)
		rc = store_flush(l->store, err);
	if (rc == 0)
		l->size = size;
	return rc;
}

int disk_resize(struct disk *d, uint64_t size,
		const struct qcow2_resize_opts *opts, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	if (!top->image)
		return resize_raw(top, size, opts, err);
	rc = image_resize(top->image, size, opts, err);
	top->size = top->image->virtual_size;
	return rc;
}

int disk_amend(struct disk *d, const struct qcow2_amend_opts *opts,
	       struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	if (!top->image)
		return error_set(err, -ENOTSUP,
				 "a raw image has no options to amend");
	rc = image_amend(top->image, opts, err);
	top->size = top->image->virtual_size;
	return rc;
}
