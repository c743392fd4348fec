#include "chain/snapshot_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "chain/disk_impl.h"
#include "image/image.h"

struct qcow2_snapshot_list {
	struct snapshots all;
};

/* Borrows the strings. */
static void tell(struct qcow2_snapshot_info *out, const struct snapshot_info *s)
{
	out->id = s->id;
	out->name = s->name;
	out->vm_state_size = s->vm_state_size;
	out->disk_size = s->disk_size;
	out->vm_clock_ns = s->vm_clock_nsec;
	out->icount = s->icount;
	out->date_sec = s->date_sec;
	out->date_nsec = s->date_nsec;
}

int disk_get_snapshot(struct disk *d, uint32_t index,
		      struct qcow2_snapshot_info *out, struct qcow2_error *err)
{
	struct image *top = d->layers[0].image;
	struct snapshot_info s;
	int rc;

	if (!top)
		return error_set(err, -EINVAL, "a raw image has no snapshots");
	rc = image_get_snapshot(top, index, &s, err);
	if (rc == 0)
		tell(out, &s);
	return rc;
}

int snapshot_list_new(struct disk *d, struct qcow2_snapshot_list **out,
		      struct qcow2_error *err)
{
	struct image *top = d->layers[0].image;
	struct qcow2_snapshot_list *list = calloc(1, sizeof(*list));
	int rc;

	if (!list)
		return error_nomem(err, "a list of snapshots", sizeof(*list));
	rc = top ? image_copy_snapshots(top, &list->all, err) : 0;
	if (rc < 0) {
		free(list);
		return rc;
	}
	*out = list;
	return 0;
}

void snapshot_list_free(struct qcow2_snapshot_list *list)
{
	snapshots_release(&list->all);
	free(list);
}

uint32_t snapshot_list_count(const struct qcow2_snapshot_list *list)
{
	return list->all.n;
}

int snapshot_list_get(const struct qcow2_snapshot_list *list, uint32_t index,
		      struct qcow2_snapshot_info *out, struct qcow2_error *err)
{
	if (index >= list->all.n)
		return error_set(err, -EINVAL,
				 "the list has no snapshot number %" PRIu32,
				 index);
	tell(out, &list->all.list[index]);
	return 0;
}
