/*
 * Lists of snapshots that are the caller's: whoever watches an image can keep
 * one while snapshots come and go.
 */
#include "api/snapshot_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "api/image.h"
#include "base/error.h"
#include "base/options.h"
#include "image/image.h"

struct qcow2_snapshot_list {
	struct snapshots all;
};

int snapshot_give(struct qcow2_snapshot_info *out,
		  const struct snapshot_info *s, struct qcow2_error *err)
{
	struct qcow2_snapshot_info full = {
		.struct_size = sizeof(full),
		.id = s->id,
		.name = s->name,
		.vm_state_size = s->vm_state_size,
		.disk_size = s->disk_size,
		.vm_clock_ns = s->vm_clock_nsec,
		.icount = s->icount,
		.date_sec = s->date_sec,
		.date_nsec = s->date_nsec,
	};

	return options_give(out, &full, sizeof(full), err);
}

int qcow2_snapshot_list_new(struct qcow2_image *img,
			    struct qcow2_snapshot_list **out,
			    struct qcow2_error *err)
{
	struct qcow2_snapshot_list *list;
	struct image *top;
	int rc = image_check_handle(img, err);

	if (rc < 0)
		return rc;
	if (!out)
		return error_set(err, -EINVAL, "out is NULL");
	list = calloc(1, sizeof(*list));
	if (!list)
		return error_nomem(err, "a list of snapshots", sizeof(*list));
	top = disk_top_image(img->disk);
	rc = top ? image_copy_snapshots(top, &list->all, err) : 0;
	if (rc < 0) {
		free(list);
		return rc;
	}
	*out = list;
	return 0;
}

uint32_t qcow2_snapshot_list_count(const struct qcow2_snapshot_list *list)
{
	return list ? list->all.n : 0;
}

int qcow2_snapshot_list_get(const struct qcow2_snapshot_list *list,
			    uint32_t index, struct qcow2_snapshot_info *out,
			    struct qcow2_error *err)
{
	if (!list)
		return error_set(err, -EINVAL, "the list is NULL");
	if (index >= list->all.n)
		return error_set(err, -EINVAL,
				 "the list has no snapshot number %" PRIu32,
				 index);
	return snapshot_give(out, &list->all.list[index], err);
}

void qcow2_snapshot_list_free(struct qcow2_snapshot_list *list)
{
	if (!list)
		return;
	snapshots_release(&list->all);
	free(list);
}
