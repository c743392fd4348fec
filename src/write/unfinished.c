/*
 * The end of an operation on snapshots that failed half-way.
 */
#include "write/unfinished.h"

#include "base/error.h"
#include "image/image.h"
#include "write/copied_flags.h"
#include "write/features.h"
#include "write/writer.h"

int unfinished_end(struct image *img, int rc, struct qcow2_error *err)
{
	struct qcow2_error *why = rc == 0 ? err : NULL;
	int end = commit_flush(&img->writer->commit, why);

	if (end == 0)
		end = features_end_dirty(img, DIRTY_OPERATION | DIRTY_UNWRITTEN,
					 why);
	else
		features_end_operation_later(img);
	return rc < 0 ? rc : end;
}

int unfinished_recover(struct image *img, struct qcow2_error *err)
{
	uint64_t n_lost;
	int rc;

	if (!features_is_unfinished(img))
		return 0;
	rc = copied_flags_restore(img, &n_lost, err);
	return rc < 0 ? rc : unfinished_end(img, 0, err);
}

void unfinished_leave(struct image *img, int rc)
{
	if (!error_is_no_room(rc))
		features_leave_to_repair(img);
}
