/*
 * Changing what the top layer is: its size, its options.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "chain/disk_impl.h"
#include "chain/watch.h"

static int resize_top(struct disk *d, uint64_t size,
		      const struct qcow2_resize_opts *opts,
		      struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	SCOPED_LOCK(&d->resize_lock);

	return top->ops->write->resize(top, size, opts, err);
}

int disk_resize(struct disk *d, uint64_t size,
		const struct qcow2_resize_opts *opts, struct qcow2_error *err)
{
	int rc = disk_check_writable(d, err);
	SCOPED_VALIDATE(disk, d);

	if (rc < 0)
		return rc;
	rc = resize_top(d, size, opts, err);
	return watch_disk(d, rc, err);
}

int disk_amend(struct disk *d, const struct qcow2_amend_opts *opts,
	       struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);
	SCOPED_VALIDATE(disk, d);

	if (rc < 0)
		return rc;
	if (!top->ops->amend)
		return layer_refuse(top, "has no options to amend", err);
	return watch_disk(d, top->ops->amend(top, opts, err), err);
}

int disk_compact(struct disk *d, const struct qcow2_compact_opts *opts,
		 struct qcow2_compact_result *result, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	bool dry_run = opts->flags & QCOW2_COMPACT_DRY_RUN;
	int rc = dry_run ? 0 : disk_check_writable(d, err);
	SCOPED_VALIDATE(disk, d);

	if (rc < 0)
		return rc;
	if (!top->ops->compact)
		return layer_refuse(top, "has nothing to compact", err);
	rc = top->ops->compact(top, opts, result, err);
	return dry_run ? rc : watch_disk(d, rc, err);
}
