/*
 * qcow2_concat(): argument checks.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/handle.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "chain/concat.h"

int qcow2_concat(struct qcow2_image *const *imgs, uint32_t n,
		 struct qcow2_image **out, struct qcow2_error *err)
{
	CLEANUP_FREE struct disk **disks = NULL;
	struct disk *together;
	int rc;

	if (!imgs || !n || !out)
		return error_set(err, -EINVAL,
				 "imgs and out must not be NULL, n not 0");
	disks = calloc(n, sizeof(*disks));
	if (!disks)
		return error_nomem(err, "a list of disks", n);
	for (uint32_t i = 0; i < n; i++) {
		rc = handle_check(imgs[i], err);
		if (rc < 0)
			return rc;
		disks[i] = imgs[i]->disk;
	}
	rc = concat_open(disks, n, &together, err);
	return rc < 0 ? rc : handle_new(together, out, err);
}
