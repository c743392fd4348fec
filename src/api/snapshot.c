/*
 * Snapshots and VM state: argument checks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "api/handle.h"
#include "base/error.h"
#include "base/options.h"
#include "base/range.h"
#include "base/text.h"

/* A name that could not be typed, or shown, could not be asked for again. */
static int check_new_name(const char *name, const char *id,
			  struct qcow2_error *err)
{
	if (!*name || (id && !*id))
		return error_set(err, -EINVAL,
				 "the name or the id of a snapshot is empty");
	if (!text_is_utf8(name, strlen(name)) ||
	    (id && !text_is_utf8(id, strlen(id))))
		return error_set(err, -EINVAL,
				 "the name or the id of a snapshot is not "
				 "UTF-8");
	return 0;
}

int qcow2_snapshot_create(struct qcow2_image *img, const char *name,
			  const struct qcow2_snapshot_opts *opts,
			  struct qcow2_error *err)
{
	struct qcow2_snapshot_opts own;
	int rc = handle_check(img, err);

	if (rc < 0)
		return rc;
	if (!name)
		return error_set(err, -EINVAL, "the name is NULL");
	rc = options_copy(&own, sizeof(own), opts, "qcow2_snapshot_opts", err);
	if (rc < 0)
		return rc;
	if (own.flags || own.reserved)
		return error_set(err, -EINVAL,
				 "snapshot flags 0x%" PRIx32 " are not known",
				 own.flags | own.reserved);
	rc = check_new_name(name, own.id, err);
	return rc < 0 ? rc : disk_snapshot_create(img->disk, name, &own, err);
}

static int api_snapshot_check_name(const struct qcow2_image *img,
				   const char *id_or_name,
				   struct qcow2_error *err)
{
	if (!id_or_name)
		return error_set(err, -EINVAL, "id_or_name is NULL");
	return handle_check(img, err);
}

int qcow2_snapshot_apply(struct qcow2_image *img, const char *id_or_name,
			 struct qcow2_error *err)
{
	int rc = api_snapshot_check_name(img, id_or_name, err);

	return rc < 0 ? rc : disk_snapshot_apply(img->disk, id_or_name, err);
}

int qcow2_snapshot_delete(struct qcow2_image *img, const char *id_or_name,
			  struct qcow2_error *err)
{
	int rc = api_snapshot_check_name(img, id_or_name, err);

	return rc < 0 ? rc : disk_snapshot_delete(img->disk, id_or_name, err);
}

static int check_range(const struct qcow2_image *img, const void *buf,
		       size_t len, uint64_t off, struct qcow2_error *err)
{
	if (!buf && len)
		return error_set(err, -EINVAL, "the buffer is NULL");
	if (!range_is_sane(off, len))
		return error_set(err, -EINVAL,
				 "VM state has no byte at offset %" PRIu64,
				 off);
	return handle_check(img, err);
}

int qcow2_vmstate_write(struct qcow2_image *img, const void *buf, size_t len,
			uint64_t off, struct qcow2_error *err)
{
	int rc = check_range(img, buf, len, off, err);

	return rc < 0 ? rc : disk_vmstate_write(img->disk, buf, len, off, err);
}

int qcow2_vmstate_read(struct qcow2_image *img, void *buf, size_t len,
		       uint64_t off, struct qcow2_error *err)
{
	int rc = check_range(img, buf, len, off, err);

	return rc < 0 ? rc : disk_vmstate_read(img->disk, buf, len, off, err);
}
