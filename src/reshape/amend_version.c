/*
 * Between the versions of the format (O24).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "image/image.h"
#include "reshape/amend.h"
#include "reshape/header_cluster.h"
#include "snapshot/table.h"
#include "write/features.h"
#include "write/writer.h"

/* Version 3 wants every snapshot to say how large its disk is.  The table has
 * grown then: extra data is never cut. */
static int complete_snapshots(struct image *img, struct qcow2_error *err)
{
	struct snapshots next = img->snapshots;
	struct fresh_table table;
	int rc;

	if (next.n == 0 || snapshots_bytes(&next) == next.table_bytes)
		return 0;
	next.list = malloc(next.n * sizeof(*next.list));
	if (!next.list)
		return error_nomem(err, "the snapshot list",
				   next.n * sizeof(*next.list));
	memcpy(next.list, img->snapshots.list, next.n * sizeof(*next.list));
	rc = snapshot_table_write(img, &next, &table, err);
	if (rc == 0)
		rc = snapshot_table_switch(img, &next, &table, err);
	free(next.list);
	return rc;
}

int amend_upgrade(struct image *img, struct qcow2_error *err)
{
	struct header_cluster to;
	int rc = complete_snapshots(img, err);

	if (rc == 0)
		rc = commit_drain(&img->writer->commit, err);
	if (rc < 0)
		return rc;
	to = header_cluster_of(img);
	to.header.version = 3;
	to.header.header_length = HEADER_LENGTH_V3;
	/* Version 2 had no bit to say that an operation is unfinished. */
	if (img->writer->dirty_reasons)
		to.header.incompatible_features |= INCOMPAT_DIRTY;
	to.header.tail = NULL;
	to.header.tail_len = HEADER_LENGTH_V3 - HEADER_OFF_COMPRESSION - 1;
	rc = header_cluster_write(img, &to, err);
	if (rc == 0)
		geometry_init(&img->geo, &img->header);
	return rc;
}

static int needs_3(const char *what, struct qcow2_error *err)
{
	return error_set(err, -ENOTSUP,
			 "%s has no place in version 2 (compat=0.10)", what);
}

/* Readers of version 2 look for neither in an entry: to them the disk has the
 * size of today, and the state 32 bits. */
static int amend_version_check_snapshots(const struct image *img,
					 uint64_t disk_size,
					 struct qcow2_error *err)
{
	for (uint32_t i = 0; i < img->snapshots.n; i++) {
		const struct snapshot_info *s = &img->snapshots.list[i];

		if (s->disk_size != disk_size)
			return error_set(err, -ENOTSUP,
					 "snapshot \"%s\" has another disk "
					 "size (%" PRIu64
					 ") than the image (%" PRIu64
					 "), which has no place in "
					 "version 2 (compat=0.10)",
					 TEXT(s->name, strlen(s->name)),
					 s->disk_size, disk_size);
		if (s->vm_state_size > UINT32_MAX)
			return error_set(
				err, -ENOTSUP,
				"the VM state of snapshot \"%s\" (%" PRIu64
				" bytes) has no place in "
				"version 2 (compat=0.10), which counts "
				"to %" PRIu32,
				TEXT(s->name, strlen(s->name)),
				s->vm_state_size, UINT32_MAX);
	}
	return 0;
}

int amend_check_downgrade(const struct image *img, uint64_t disk_size,
			  struct qcow2_error *err)
{
	uint64_t bits = img->header.incompatible_features;

	if (img->geo.has_data_file)
		return needs_3("an external data file", err);
	if (img->geo.extended_l2)
		return needs_3("extended_l2", err);
	if (img->header.compression_type != COMPRESSION_ZLIB)
		return needs_3("compression_type=zstd", err);
	if (bits & ~INCOMPAT_DIRTY)
		return error_set(err, -ENOTSUP,
				 "incompatible features 0x%" PRIx64
				 " have no place in version 2 (compat=0.10)",
				 bits);
	if (img->bitmaps.directory_bytes)
		return error_set(
			err, -ENOTSUP,
			"persistent bitmaps have no place in version 2 "
			"(compat=0.10): remove them first");
	return amend_version_check_snapshots(img, disk_size, err);
}

int amend_downgrade(struct image *img, struct amend_progress *p,
		    struct qcow2_error *err)
{
	struct header_cluster to;
	int rc = amend_expand_zeros(img, p, err);

	if (rc == 0)
		rc = commit_drain(&img->writer->commit, err);
	/* Version 2 has no bit to say that refcounts are late. */
	if (rc == 0)
		rc = features_end_dirty(img, DIRTY_LAZY | DIRTY_UNWRITTEN, err);
	if (rc == 0 && (img->header.incompatible_features & INCOMPAT_DIRTY))
		rc = needs_3("an operation that was not completed", err);
	if (rc < 0)
		return rc;
	img->writer->commit.mark_dirty = NULL;
	to = header_cluster_of(img);
	to.header.version = 2;
	to.header.header_length = HEADER_LENGTH_V2;
	to.header.incompatible_features = 0;
	to.header.compatible_features = 0;
	to.header.autoclear_features = 0;
	to.header.tail = NULL;
	to.header.tail_len = 0;
	rc = header_cluster_write(img, &to, err);
	if (rc == 0)
		geometry_init(&img->geo, &img->header);
	return rc;
}
