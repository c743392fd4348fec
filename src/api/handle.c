#include "api/handle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"

int handle_new(struct disk *disk, struct qcow2_image **out,
	       struct qcow2_error *err)
{
	struct qcow2_image *img = calloc(1, sizeof(*img));

	if (!img) {
		disk_abandon(disk);
		return error_nomem(err, "the image handle", sizeof(*img));
	}
	img->disk = disk;
	*out = img;
	return 0;
}

struct api_request handle_begin(enum request_kind kind, uint64_t len,
				uint64_t off)
{
	return (struct api_request){ kind, len, off, requests_clock() };
}

int handle_end(struct qcow2_image *img, const struct api_request *r, int rc)
{
	return requests_count(&img->requests[r->kind], rc, r->len, r->began_ns);
}

int handle_check(const struct qcow2_image *img, struct qcow2_error *err)
{
	if (!img)
		return error_set(err, -EINVAL, "the image is NULL");
	return disk_check_here(img->disk, err);
}

int handle_check_range(const struct qcow2_image *img, uint64_t len,
		       uint64_t off, struct qcow2_error *err)
{
	int rc = handle_check(img, err);
	uint64_t size;

	if (rc < 0)
		return rc;
	size = disk_size(img->disk);
	if (off <= size && len <= size - off)
		return 0;
	return error_set(err, -EINVAL,
			 "%" PRIu64 " bytes at offset %" PRIu64
			 " are not inside the disk of %" PRIu64 " bytes",
			 len, off, size);
}

int handle_check_map(unsigned flags, struct qcow2_error *err)
{
	unsigned unknown = flags & ~(QCOW2_MAP_TOP_ONLY | QCOW2_MAP_MERGE);

	return unknown ? error_set(err, -EINVAL, "map flags 0x%x are not known",
				   unknown)
		       : 0;
}

int handle_check_vector(const struct iovec *iov, int iovcnt, uint64_t *len,
			struct qcow2_error *err)
{
	*len = 0;
	if (iovcnt < 0 || (iovcnt > 0 && !iov))
		return error_set(err, -EINVAL, "the I/O vector is not valid");
	for (int i = 0; i < iovcnt; i++) {
		if (!iov[i].iov_base && iov[i].iov_len)
			return error_set(err, -EINVAL, "the buffer is NULL");
		if (__builtin_add_overflow(*len, iov[i].iov_len, len))
			return error_set(err, -EINVAL,
					 "the I/O vector is longer than any "
					 "disk");
	}
	return 0;
}
