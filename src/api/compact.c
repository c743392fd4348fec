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
#include "compact/compact.h"
#include "format/defect.h"
#include "image/image.h"
#include "write/writer.h"

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

/* What cannot be compacted at all is refused by disk_compact(). */
static int check_image(struct qcow2_image *img,
		       const struct qcow2_compact_opts *opts,
		       struct qcow2_error *err)
{
	struct image *top = disk_top_image(img->disk);

	return top && top->writer ? image_compact_check(top, opts, err) : 0;
}

/* What the proof of refcounts judges, and mends where it can. */
static bool is_of_refcounts(int defect)
{
	return defect >= DEFECT_REFCOUNT_TABLE_ENTRY_UNALIGNED &&
	       defect <= DEFECT_COPIED_FLAG;
}

struct look {
	bool no_refcounts; /* they are not proved yet */
	struct qcow2_error first;
};

static void note_first(void *opaque, const struct qcow2_finding *f)
{
	struct look *look = opaque;

	if (look->first.defect || f->severity < QCOW2_SEVERITY_CORRUPTION ||
	    (look->no_refcounts && is_of_refcounts(f->defect)))
		return;
	error_defect(&look->first, -EINVAL, f->defect, f->host_off, "%s",
		     f->message);
}

/* An entry that is wrong would move somebody else's cluster. */
static int look_for_damage(struct image *top, bool no_refcounts,
			   struct qcow2_check_result *found,
			   struct qcow2_error *err)
{
	struct look look = { .no_refcounts = no_refcounts };
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	int rc;

	opts.report = note_first;
	opts.opaque = &look;
	rc = check_store(top->file, &opts, found, err);
	if (rc == 0 && look.first.defect)
		return error_defect(err, -EINVAL, look.first.defect,
				    look.first.host_off,
				    "the image has %" PRIu64 " errors and must "
				    "be repaired first: %s",
				    found->corruptions, look.first.message);
	if (rc == 0 && found->check_errors)
		return error_set(err, -EINVAL,
				 "%" PRIu64 " parts of the image could not be "
				 "checked",
				 found->check_errors);
	return rc;
}

/* What is refused is left as it is: damage is looked for before the proof,
 * which would mark the image. */
static int check_sound(struct qcow2_image *img, bool dry_run,
		       uint64_t *n_leaked, struct qcow2_error *err)
{
	struct image *top = disk_top_image(img->disk);
	struct qcow2_check_result found = { .struct_size = sizeof(found) };
	bool may_raise = top && top->writer && !dry_run;
	int rc = 0;

	*n_leaked = 0;
	/* What cannot be compacted is refused by whoever would do it. */
	if (!top || (!top->writer && !dry_run))
		return 0;
	if (top->writer)
		rc = image_settle(top, err);
	if (rc == 0)
		rc = look_for_damage(top, may_raise, &found, err);
	if (rc == 0 && may_raise)
		rc = proof_require(top, err);
	if (rc == 0 && found.corruptions)
		rc = look_for_damage(top, false, &found, err);
	*n_leaked = found.leaks;
	return rc;
}

int qcow2_compact(struct qcow2_image *img,
		  const struct qcow2_compact_opts *opts,
		  struct qcow2_compact_result *result, struct qcow2_error *err)
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
