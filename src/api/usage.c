/*
 * What a disk has by its metadata: argument checks.
 */
#include <errno.h>

#include "api/handle.h"
#include "base/error.h"
#include "base/options.h"
#include "ops/usage.h"

int qcow2_get_usage(struct qcow2_image *img, unsigned map_flags,
		    struct qcow2_usage *out, struct qcow2_error *err)
{
	struct qcow2_usage full;
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc == 0)
		rc = handle_check_map(map_flags, err);
	if (rc == 0)
		rc = usage_count(img->disk, map_flags, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}
