/*
 * What a disk has, and where two differ, by their metadata: argument checks.
 */
#include <errno.h>
#include <inttypes.h>

#include "api/handle.h"
#include "base/checked.h"
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

static int check_diff_range(const struct qcow2_image *older,
			    const struct qcow2_image *newer, uint64_t len,
			    uint64_t off, struct qcow2_error *err)
{
	uint64_t size = max_u64(qcow2_size(older), qcow2_size(newer));

	if (len == 0)
		return error_set(err, -EINVAL, "an extent has no length 0");
	if (off <= size && len <= size - off)
		return 0;
	return error_set(err, -EINVAL,
			 "%" PRIu64 " bytes at offset %" PRIu64
			 " are not inside the larger disk of %" PRIu64 " bytes",
			 len, off, size);
}

int qcow2_diff(struct qcow2_image *older, struct qcow2_image *newer,
	       uint64_t len, uint64_t off, unsigned flags,
	       struct qcow2_diff_extent *out, struct qcow2_error *err)
{
	struct qcow2_diff_extent full = QCOW2_DIFF_EXTENT_INIT;
	int rc = handle_check(older, err);

	if (rc == 0)
		rc = handle_check(newer, err);
	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc == 0)
		rc = check_diff_range(older, newer, len, off, err);
	if (rc == 0 && flags)
		rc = error_set(err, -EINVAL, "flags 0x%x are not known", flags);
	if (rc == 0)
		rc = disk_diff(older->disk, newer->disk, len, off, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}
