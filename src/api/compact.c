/*
 * Compaction: argument checks, and the check that nothing is broken that would
 * be moved.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "api/image.h"
#include "base/error.h"
#include "base/options.h"
#include "check/check.h"
#include "image/compact.h"
#include "image/image.h"
#include "image/rw.h"

#define COMPACT_FLAGS_KNOWN                                                    \
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

/* What cannot be compacted at all is refused by disk_compact(). */
static int check_image(struct qcow2_image *img,
		       const struct qcow2_compact_opts *opts,
		       struct qcow2_error *err)
{
	struct image *top = disk_top_image(img->disk);

	return top && top->rw ? image_compact_check(top, opts, err) : 0;
}

/* An entry that is wrong would move somebody else's cluster. */
static int check_sound(struct qcow2_image *img, bool dry_run,
		       uint64_t *n_leaked, struct qcow2_error *err)
{
	struct image *top = disk_top_image(img->disk);
	struct qcow2_check_result found = { .struct_size = sizeof(found) };
	int rc = 0;

	*n_leaked = 0;
	/* What cannot be compacted is refused by whoever would do it. */
	if (!top || (!top->rw && !dry_run))
		return 0;
	if (top->rw)
		rc = image_settle(top, err);
	/* Refcounts that are too low are no reason to refuse. */
	if (rc == 0 && top->rw && !dry_run)
		rc = proof_require(top, err);
	if (rc == 0)
		rc = check_store(top->file, NULL, &found, err);
	if (rc == 0 && (found.corruptions || found.check_errors))
		rc = error_set(err, -EINVAL,
			       "the image has %" PRIu64 " errors: it needs "
			       "check -r all first",
			       found.corruptions + found.check_errors);
	*n_leaked = found.leaks;
	return rc;
}

int qcow2_compact(struct qcow2_image *img,
		  const struct qcow2_compact_opts *opts,
		  struct qcow2_compact_result *result,
		  struct qcow2_error *err)
{
	struct qcow2_compact_opts own = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_compact_result found = { 0 };
	int rc = image_check_handle(img, err);

	if (rc == 0)
		rc = options_copy(&own, sizeof(own), opts, "qcow2_compact_opts",
				  err);
	if (rc == 0)
		rc = options_check_result(result, err);
	if (rc == 0)
		rc = check_opts(&own, err);
	if (rc < 0)
		return rc;
	rc = check_image(img, &own, err);
	if (rc == 0)
		rc = check_sound(img, own.flags & QCOW2_COMPACT_DRY_RUN,
				 &found.clusters_leaked, err);
	if (rc == 0)
		rc = disk_compact(img->disk, &own, &found, err);
	options_give(result, &found, sizeof(found), NULL);
	return rc;
}
