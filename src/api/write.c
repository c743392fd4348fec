/*
 * Changing guest bytes: argument checks, then the chain.
 */
#include <errno.h>

#include "api/handle.h"
#include "base/error.h"
#include "base/iov.h"

static int api_write_check_flags(unsigned flags, unsigned known,
				 struct qcow2_error *err)
{
	if (!(flags & ~known))
		return 0;
	return error_set(err, -EINVAL, "flags 0x%x are not known",
			 flags & ~known);
}

int qcow2_pwritev(struct qcow2_image *img, const struct iovec *iov, int iovcnt,
		  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct api_request r;
	uint64_t len;
	int rc = handle_check_vector(iov, iovcnt, &len, err);

	if (rc == 0)
		rc = handle_check_range(img, len, off, err);
	if (rc == 0)
		rc = api_write_check_flags(flags, CHANGE_FLAGS, err);
	if (rc < 0)
		return rc;
	r = handle_begin(REQUEST_WRITE, len, off);
	rc = disk_pwritev(img->disk, iov, iovcnt, off, flags, err);
	return handle_end(img, &r, rc);
}

int qcow2_pwrite(struct qcow2_image *img, const void *buf, size_t len,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return qcow2_pwritev(img, &iov, 1, off, flags, err);
}

int qcow2_zero(struct qcow2_image *img, uint64_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err)
{
	int rc = handle_check_range(img, len, off, err);
	struct api_request r;

	if (rc == 0)
		rc = api_write_check_flags(flags, ZERO_FLAGS, err);
	if (rc < 0)
		return rc;
	r = handle_begin(REQUEST_ZERO, len, off);
	rc = disk_zero(img->disk, len, off, flags, err);
	return handle_end(img, &r, rc);
}

int qcow2_discard(struct qcow2_image *img, uint64_t len, uint64_t off,
		  unsigned flags, struct qcow2_error *err)
{
	int rc = handle_check_range(img, len, off, err);
	struct api_request r;

	if (rc == 0)
		rc = api_write_check_flags(flags, CHANGE_FLAGS, err);
	if (rc < 0)
		return rc;
	r = handle_begin(REQUEST_DISCARD, len, off);
	rc = disk_discard(img->disk, len, off, flags, err);
	return handle_end(img, &r, rc);
}

int qcow2_write_compressed(struct qcow2_image *img, const void *buf, size_t len,
			   uint64_t off, unsigned flags,
			   struct qcow2_error *err)
{
	int rc = handle_check_range(img, len, off, err);
	struct api_request r;

	if (rc == 0 && !buf && len)
		rc = error_set(err, -EINVAL, "the buffer is NULL");
	if (rc == 0)
		rc = api_write_check_flags(flags, QCOW2_FUA, err);
	if (rc < 0)
		return rc;
	r = handle_begin(REQUEST_WRITE_COMPRESSED, len, off);
	rc = disk_write_compressed(img->disk, buf, len, off, flags, err);
	return handle_end(img, &r, rc);
}

int qcow2_set_compress_level(struct qcow2_image *img, uint32_t level,
			     struct qcow2_error *err)
{
	int rc = handle_check(img, err);

	return rc < 0 ? rc : disk_set_level(img->disk, level, NULL, err);
}

int qcow2_flush(struct qcow2_image *img, struct qcow2_error *err)
{
	int rc = handle_check(img, err);
	struct api_request r;

	if (rc < 0)
		return rc;
	r = handle_begin(REQUEST_FLUSH, 0, 0);
	rc = disk_flush(img->disk, err);
	return handle_end(img, &r, rc);
}

int qcow2_recover(struct qcow2_image *img, struct qcow2_error *err)
{
	int rc = handle_check(img, err);

	return rc < 0 ? rc : disk_recover(img->disk, err);
}
