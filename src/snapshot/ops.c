#include "snapshot/ops.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "image/image.h"
#include "write/copied_flags.h"
#include "write/features.h"
#include "write/overlap.h"
#include "write/unfinished.h"
#include "write/writer.h"

int snapshot_refuse_data_file(struct qcow2_error *err)
{
	return error_set(err, -ENOTSUP,
			 "an image with an external data file cannot have "
			 "snapshots");
}

int snapshot_begin(struct image *img, struct inflight_freeze *freeze,
		   struct qcow2_error *err)
{
	int rc;

	mutex_lock(&img->writer->snapshot_lock);
	inflight_freeze(&img->writer->inflight, freeze);
	overlap_forget_inactive_l2(img);
	if (img->geo.has_data_file)
		return snapshot_refuse_data_file(err);
	rc = commit_flush(&img->writer->commit, err);
	return rc < 0 ? rc : unfinished_recover(img, err);
}

void snapshot_end(struct image *img, struct inflight_freeze *freeze)
{
	/* A guard that knows less is no reason to fail. */
	overlap_learn_inactive_l2(img, NULL);
	inflight_thaw(&img->writer->inflight, freeze);
	mutex_unlock(&img->writer->snapshot_lock);
}

int snapshot_index(const struct image *img, const char *id_or_name,
		   uint32_t *index, struct qcow2_error *err)
{
	const struct snapshot_info *s =
		snapshots_find(&img->snapshots, id_or_name);

	if (!s)
		return error_set(err, -ENOENT,
				 "there is no snapshot with the id or name "
				 "\"%s\"",
				 TEXT(id_or_name, strlen(id_or_name)));
	*index = (uint32_t)(s - img->snapshots.list);
	return 0;
}

int snapshot_check_l1(const struct image *img, const struct snapshot_info *s,
		      struct qcow2_error *err)
{
	uint64_t bytes = (uint64_t)s->l1_size * L1_ENTRY_BYTES;

	if (s->l1_size == 0 || (bytes <= L1_TABLE_BYTES_MAX &&
				geometry_table_fits(&img->geo, s->l1_off, bytes,
						    image_file_end(img))))
		return 0;
	return error_defect(
		err, -EINVAL, DEFECT_SNAPSHOT_L1, s->l1_off,
		"snapshot \"%s\": its L1 table of %" PRIu32
		" entries at %" PRIu64 " is out of place or too large",
		TEXT(s->name, strlen(s->name)), s->l1_size, s->l1_off);
}
