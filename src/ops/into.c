#include "ops/into.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "base/error.h"
#include "chain/disk.h"
#include "ops/apart.h"
#include "ops/fill.h"

static int check_compress(struct disk *dst,
			  const struct qcow2_convert_opts *opts,
			  struct qcow2_error *err)
{
	if (!(opts->flags & QCOW2_CONVERT_COMPRESS))
		return 0;
	if (disk_layer_data_filename(dst, 0))
		return error_set(err, -ENOTSUP,
				 "an image with an external data file has no "
				 "compressed clusters");
	return 0;
}

static int check_target(const struct disk *src, struct disk *dst,
			const struct disk *below,
			const struct qcow2_convert_opts *opts,
			struct qcow2_error *err)
{
	int rc;

	if (disk_size(dst) < disk_size(src))
		return error_set(err, -ENOSPC,
				 "output file is smaller than input file: the "
				 "target has %" PRIu64
				 " bytes, the source %" PRIu64,
				 disk_size(dst), disk_size(src));
	if ((opts->flags & QCOW2_CONVERT_TARGET_IS_ZERO) &&
	    (below || disk_layer_count(dst) > 1))
		return error_set(err, -EINVAL,
				 "a target with a backing file is not taken to "
				 "be zero");
	rc = apart_check_disk(dst, src, "the source", err);
	return rc < 0 ? rc : check_compress(dst, opts, err);
}

static int fill_target(struct disk *src, struct disk *dst, struct disk *below,
		       const struct qcow2_convert_opts *opts,
		       struct qcow2_error *err)
{
	/* A write of nothing tells whether it may be written at all. */
	int rc = disk_pwritev(dst, NULL, 0, 0, 0, err);

	if (rc == 0)
		rc = ops_fill_existing(src, dst, below, opts, err);
	if (rc == 0 && !(opts->flags & QCOW2_CONVERT_NO_SYNC))
		rc = disk_flush(dst, err);
	return rc;
}

int ops_convert_into(struct disk *src, struct disk *dst, struct disk *below,
		     const struct qcow2_convert_opts *opts,
		     struct qcow2_error *err)
{
	bool compress = opts->flags & QCOW2_CONVERT_COMPRESS;
	uint32_t level = 0;
	int rc = check_target(src, dst, below, opts, err);

	if (rc == 0 && compress)
		rc = disk_set_level(dst, opts->compress_level, &level, err);
	if (rc < 0)
		return rc;
	rc = fill_target(src, dst, below, opts, err);
	/* The caller's own writes have a level of their own. */
	if (compress)
		disk_set_level(dst, level, NULL, NULL);
	return rc;
}
