#include "chain/snapshot_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "chain/disk_impl.h"
#include "image/snapshots.h"

struct qcow2_snapshot_list {
	struct snapshots all;
};

/* Borrows the strings. */
static void chain_snapshot_list_tell(struct qcow2_snapshot_info *out,
				     const struct snapshot_info *s)
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
	struct layer *top = &d->layers[0];
	struct snapshot_info s;
	int rc;

	if (!top->ops->snapshot)
		return error_set(err, -EINVAL, "a %s image has no snapshots",
				 top->ops->name);
	rc = top->ops->snapshot->get(top, index, &s, err);
	if (rc == 0)
		chain_snapshot_list_tell(out, &s);
	return rc;
}

int snapshot_list_new(struct disk *d, struct qcow2_snapshot_list **out,
		      struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	struct qcow2_snapshot_list *list = calloc(1, sizeof(*list));
	int rc = 0;

	if (!list)
		return error_nomem(err, "a list of snapshots", sizeof(*list));
	if (top->ops->snapshot)
		rc = top->ops->snapshot->copy(top, &list->all, err);
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
	chain_snapshot_list_tell(out, &list->all.list[index]);
	return 0;
}
