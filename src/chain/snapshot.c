/*
 * Internal snapshots and VM state of the top layer.
 */
#include <errno.h>

#include "base/error.h"
#include "chain/disk_impl.h"
#include "image/image.h"
#include "snapshot/ops.h"
#include "snapshot/vmstate.h"

static int no_snapshots(struct qcow2_error *err)
{
	return error_set(err, -ENOTSUP, "a raw image has no snapshots");
}

static int check(const struct disk *d, struct qcow2_error *err)
{
	int rc = disk_check_writable(d, err);

	return rc < 0 || d->layers[0].image ? rc : no_snapshots(err);
}

int disk_snapshot_create(struct disk *d, const char *name,
			 const struct qcow2_snapshot_opts *opts,
			 struct qcow2_error *err)
{
	int rc = check(d, err);

	return rc < 0 ? rc
		      : image_snapshot_create(d->layers[0].image, name, opts,
					      err);
}

int disk_snapshot_apply(struct disk *d, const char *id_or_name,
			struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = check(d, err);

	if (rc < 0)
		return rc;
	rc = image_snapshot_apply(top->image, id_or_name, err);
	/* One that fails late has switched the disk already. */
	top->size = top->image->virtual_size;
	return rc;
}

int disk_snapshot_delete(struct disk *d, const char *id_or_name,
			 struct qcow2_error *err)
{
	int rc = check(d, err);

	return rc < 0 ? rc
		      : image_snapshot_delete(d->layers[0].image, id_or_name,
					      err);
}

int disk_vmstate_write(struct disk *d, const void *buf, size_t len,
		       uint64_t off, struct qcow2_error *err)
{
	int rc = check(d, err);

	return rc < 0 ? rc
		      : image_vmstate_write(d->layers[0].image, buf, len, off,
					    err);
}

int disk_vmstate_read(struct disk *d, void *buf, size_t len, uint64_t off,
		      struct qcow2_error *err)
{
	if (!d->layers[0].image)
		return no_snapshots(err);
	if (d->metadata_only)
		return error_set(err, -EPERM,
				 "the image was opened for its metadata only");
	return image_vmstate_read(d->layers[0].image, buf, len, off, err);
}
