/*
 * Changing what a disk is: argument checks, then the chain.
 */
#include <errno.h>
#include <inttypes.h>

#include "api/handle.h"
#include "base/error.h"
#include "base/options.h"

#define QCOW2_AMEND_KNOWN                                                      \
	(QCOW2_AMEND_VERSION | QCOW2_AMEND_REFCOUNT_BITS |                     \
	 QCOW2_AMEND_LAZY_REFCOUNTS | QCOW2_AMEND_SIZE | QCOW2_AMEND_BACKING | \
	 QCOW2_AMEND_DATA_FILE_RAW)

static int api_resize_check_preallocation(uint32_t mode,
					  struct qcow2_error *err)
{
	if (mode <= QCOW2_PREALLOC_FULL)
		return 0;
	return error_set(err, -EINVAL,
			 "preallocation is number %" PRIu32 ", must be 0 "
			 "(off), 1 (metadata), 2 (falloc) or 3 (full)",
			 mode);
}

int qcow2_resize(struct qcow2_image *img, uint64_t size,
		 const struct qcow2_resize_opts *opts, struct qcow2_error *err)
{
	struct qcow2_resize_opts own = QCOW2_RESIZE_OPTS_INIT;
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_copy(&own, sizeof(own), opts, "qcow2_resize_opts",
				  err);
	if (rc == 0 && (own.flags & ~QCOW2_RESIZE_SHRINK))
		rc = error_set(err, -EINVAL,
			       "resize flags 0x%" PRIx32 " are not known",
			       own.flags & ~QCOW2_RESIZE_SHRINK);
	if (rc == 0)
		rc = api_resize_check_preallocation(own.preallocation, err);
	return rc < 0 ? rc : disk_resize(img->disk, size, &own, err);
}

int qcow2_amend(struct qcow2_image *img, const struct qcow2_amend_opts *opts,
		struct qcow2_error *err)
{
	struct qcow2_amend_opts own = QCOW2_AMEND_OPTS_INIT;
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_copy(&own, sizeof(own), opts, "qcow2_amend_opts",
				  err);
	if (rc == 0 && (own.set & ~QCOW2_AMEND_KNOWN))
		rc = error_set(err, -EINVAL,
			       "amend does not know 0x%" PRIx32 " in set",
			       own.set & ~QCOW2_AMEND_KNOWN);
	if (rc == 0 && (own.flags & ~QCOW2_AMEND_SHRINK))
		rc = error_set(err, -EINVAL,
			       "amend flags 0x%" PRIx32 " are not known",
			       own.flags & ~QCOW2_AMEND_SHRINK);
	if (rc == 0 && (own.lazy_refcounts > 1 || own.data_file_raw > 1))
		rc = error_set(err, -EINVAL,
			       "lazy_refcounts and data_file_raw are 0 or 1");
	return rc < 0 ? rc : disk_amend(img->disk, &own, err);
}
