/*
 * Lists of snapshots: argument checks.
 */
#include "chain/snapshot_list.h"

#include <errno.h>

#include "api/handle.h"
#include "base/error.h"
#include "base/options.h"

int qcow2_snapshot_list_new(struct qcow2_image *img,
			    struct qcow2_snapshot_list **out,
			    struct qcow2_error *err)
{
	int rc = handle_check(img, err);

	if (rc < 0)
		return rc;
	if (!out)
		return error_set(err, -EINVAL, "out is NULL");
	return snapshot_list_new(img->disk, out, err);
}

uint32_t qcow2_snapshot_list_count(const struct qcow2_snapshot_list *list)
{
	return list ? snapshot_list_count(list) : 0;
}

int qcow2_snapshot_list_get(const struct qcow2_snapshot_list *list,
			    uint32_t index, struct qcow2_snapshot_info *out,
			    struct qcow2_error *err)
{
	struct qcow2_snapshot_info full = { .struct_size = sizeof(full) };
	int rc;

	if (!list)
		return error_set(err, -EINVAL, "the list is NULL");
	rc = snapshot_list_get(list, index, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}

void qcow2_snapshot_list_free(struct qcow2_snapshot_list *list)
{
	if (list)
		snapshot_list_free(list);
}
