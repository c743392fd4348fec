/*
 * Compaction: argument checks.
 */
#include <errno.h>
#include <inttypes.h>

#include "api/handle.h"
#include "base/error.h"
#include "base/options.h"

#define COMPACT_FLAGS_KNOWN \
	(QCOW2_COMPACT_DRY_RUN | QCOW2_COMPACT_ZEROS | QCOW2_COMPACT_COMPRESS)

static int check_opts(const struct qcow2_compact_opts *o,
		      struct qcow2_error *err)
{
	if (o->flags & ~COMPACT_FLAGS_KNOWN)
		return error_set(err, -EINVAL,
				 "compact flags 0x%" PRIx32 " are not known",
				 o->flags & ~COMPACT_FLAGS_KNOWN);
	return 0;
}

int qcow2_compact(struct qcow2_image *img,
		  const struct qcow2_compact_opts *opts,
		  struct qcow2_compact_result *result, struct qcow2_error *err)
{
	struct qcow2_compact_opts own = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_compact_result found = { 0 };
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_copy(&own, sizeof(own), opts, "qcow2_compact_opts",
				  err);
	if (rc == 0)
		rc = options_check_result(result, err);
	if (rc == 0)
		rc = check_opts(&own, err);
	if (rc < 0)
		return rc;
	rc = disk_compact(img->disk, &own, &found, err);
	options_give(result, &found, sizeof(found), NULL);
	return rc;
}
