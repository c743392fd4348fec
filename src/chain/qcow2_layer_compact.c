/*
 * Compaction of a qcow2 layer, once nothing is broken that would be moved.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "base/error.h"
#include "chain/qcow2_layer.h"
#include "check/check.h"
#include "compact/compact.h"
#include "format/defect.h"
#include "image/image.h"
#include "write/writer.h"

/* The proof of refcounts judges these, and mends them where it can. */
static bool is_of_refcounts(int defect)
{
	return defect >= DEFECT_REFCOUNT_TABLE_ENTRY_UNALIGNED &&
	       defect <= DEFECT_COPIED_FLAG;
}

struct qcow2_layer_compact_look {
	bool no_refcounts; /* they are not proved yet */
	struct qcow2_error first;
};

static void note_first(void *opaque, const struct qcow2_finding *f)
{
	struct qcow2_layer_compact_look *look = opaque;

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
	struct qcow2_layer_compact_look look = { .no_refcounts = no_refcounts };
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

/* An image that is refused is left as it is: damage is looked for before the
 * proof, which would mark the image. */
static int check_sound(struct image *img, bool dry_run, uint64_t *n_leaked,
		       struct qcow2_error *err)
{
	struct qcow2_check_result found = { .struct_size = sizeof(found) };
	bool may_raise = img->writer && !dry_run;
	int rc = img->writer ? image_settle(img, err) : 0;

	if (rc == 0)
		rc = look_for_damage(img, may_raise, &found, err);
	if (rc == 0 && may_raise)
		rc = proof_require(img, err);
	if (rc == 0 && found.corruptions)
		rc = look_for_damage(img, false, &found, err);
	*n_leaked = found.leaks;
	return rc;
}

int qcow2_layer_compact(struct layer *l, const struct qcow2_compact_opts *opts,
			struct qcow2_compact_result *result,
			struct qcow2_error *err)
{
	bool dry_run = opts->flags & QCOW2_COMPACT_DRY_RUN;
	struct image *img = l->image;
	int rc = 0;

	/* Options that it refuses are told before the image is read. */
	if (img->writer)
		rc = image_compact_check(img, opts, err);
	if (rc == 0)
		rc = check_sound(img, dry_run, &result->clusters_leaked, err);
	return rc < 0 ? rc : image_compact(img, opts, result, err);
}
