/*
 * Internal snapshots and VM state of the top layer.
 */
#include <errno.h>

#include "base/error.h"
#include "chain/disk_impl.h"
#include "chain/watch.h"

static int chain_snapshot_check_snapshots(const struct disk *d,
					  struct qcow2_error *err)
{
	const struct layer *top = &d->layers[0];

	return top->ops->snapshot ? 0
				  : layer_refuse(top, "has no snapshots", err);
}

static int chain_snapshot_check_change(const struct disk *d,
				       struct qcow2_error *err)
{
	int rc = disk_check_writable(d, err);

	return rc < 0 ? rc : chain_snapshot_check_snapshots(d, err);
}

int disk_snapshot_create(struct disk *d, const char *name,
			 const struct qcow2_snapshot_opts *opts,
			 struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = chain_snapshot_check_change(d, err);

	if (rc < 0)
		return rc;
	rc = top->ops->snapshot->create(top, name, opts, err);
	return watch_disk(d, rc, err);
}

int disk_snapshot_apply(struct disk *d, const char *id_or_name,
			struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = chain_snapshot_check_change(d, err);
	SCOPED_VALIDATE(disk, d);

	if (rc < 0)
		return rc;
	rc = top->ops->snapshot->apply(top, id_or_name, err);
	return watch_disk(d, rc, err);
}

int disk_snapshot_delete(struct disk *d, const char *id_or_name,
			 struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = chain_snapshot_check_change(d, err);

	if (rc < 0)
		return rc;
	rc = top->ops->snapshot->remove(top, id_or_name, err);
	return watch_disk(d, rc, err);
}

int disk_vmstate_write(struct disk *d, const void *buf, size_t len,
		       uint64_t off, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = chain_snapshot_check_change(d, err);

	if (rc < 0)
		return rc;
	rc = top->ops->snapshot->write_vmstate(top, buf, len, off, err);
	return watch_disk(d, rc, err);
}

int disk_vmstate_read(struct disk *d, void *buf, size_t len, uint64_t off,
		      struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = chain_snapshot_check_snapshots(d, err);

	if (rc < 0)
		return rc;
	if (d->metadata_only)
		return error_set(err, -EPERM,
				 "the image was opened for its metadata only");
	return top->ops->snapshot->read_vmstate(top, buf, len, off, err);
}
