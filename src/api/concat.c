/*
 * qcow2_concat(): several disks as one.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/handle.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "chain/concat.h"
#include "store/store.h"

int qcow2_concat(struct qcow2_image *const *imgs, uint32_t n,
		 struct qcow2_image **out, struct qcow2_error *err)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	CLEANUP_STORE struct qcow2_store *store = NULL;
	CLEANUP_FREE struct disk **disks = NULL;
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
	rc = concat_new(disks, n, &store, err);
	opts.format = QCOW2_FORMAT_RAW;
	return rc < 0 ? rc : qcow2_open_store(store, &opts, out, err);
}
