/*
 * Operations on a qcow2 layer as a whole: sizes, options, snapshots.
 *
 * Most of it can change the size of the disk, and when it fails late it has.
 */
#include "chain/qcow2_layer.h"
#include "image/image.h"
#include "reshape/amend.h"
#include "reshape/resize.h"
#include "snapshot/ops.h"
#include "snapshot/vmstate.h"

int qcow2_layer_resize(struct layer *l, uint64_t size,
		       const struct qcow2_resize_opts *opts,
		       struct qcow2_error *err)
{
	int rc = image_resize(l->image, size, opts, err);

	l->size = l->image->virtual_size;
	return rc;
}

int qcow2_layer_amend(struct layer *l, const struct qcow2_amend_opts *opts,
		      struct qcow2_error *err)
{
	int rc = image_amend(l->image, opts, err);

	l->size = l->image->virtual_size;
	return rc;
}

/* ---- Snapshots ----------------------------------------------------------- */

static int qcow2_layer_create_snapshot(struct layer *l, const char *name,
				       const struct qcow2_snapshot_opts *opts,
				       struct qcow2_error *err)
{
	return image_snapshot_create(l->image, name, opts, err);
}

static int qcow2_layer_apply_snapshot(struct layer *l, const char *id_or_name,
				      struct qcow2_error *err)
{
	int rc = image_snapshot_apply(l->image, id_or_name, err);

	l->size = l->image->virtual_size;
	return rc;
}

static int qcow2_layer_delete_snapshot(struct layer *l, const char *id_or_name,
				       struct qcow2_error *err)
{
	return image_snapshot_delete(l->image, id_or_name, err);
}

static int qcow2_layer_write_vmstate(struct layer *l, const void *buf,
				     size_t len, uint64_t off,
				     struct qcow2_error *err)
{
	return image_vmstate_write(l->image, buf, len, off, err);
}

static int qcow2_layer_read_vmstate(struct layer *l, void *buf, size_t len,
				    uint64_t off, struct qcow2_error *err)
{
	return image_vmstate_read(l->image, buf, len, off, err);
}

static int qcow2_layer_get_snapshot(struct layer *l, uint32_t index,
				    struct snapshot_info *out,
				    struct qcow2_error *err)
{
	return image_get_snapshot(l->image, index, out, err);
}

static int qcow2_layer_copy_snapshots(struct layer *l, struct snapshots *out,
				      struct qcow2_error *err)
{
	return image_copy_snapshots(l->image, out, err);
}

const struct layer_snapshot_ops qcow2_layer_snapshot_ops = {
	.create = qcow2_layer_create_snapshot,
	.apply = qcow2_layer_apply_snapshot,
	.remove = qcow2_layer_delete_snapshot,
	.write_vmstate = qcow2_layer_write_vmstate,
	.read_vmstate = qcow2_layer_read_vmstate,
	.get = qcow2_layer_get_snapshot,
	.copy = qcow2_layer_copy_snapshots,
};
