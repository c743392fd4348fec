/*
 * Reading through a chain: each layer answers for what it has, the rest is
 * asked of the next one down.
 */
#include <assert.h>
#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/iov.h"
#include "chain/disk_impl.h"
#include "chain/requests.h"

int layer_read_below(struct layer *l, struct iov_cursor *dst, uint64_t len,
		     uint64_t off, unsigned flags, struct qcow2_error *err)
{
	if (l->below)
		return layer_read(l->below, dst, len, off, flags, err);
	iov_zero(dst, len);
	return 0;
}

static int layer_read_inside(struct layer *l, struct iov_cursor *dst,
			     uint64_t len, uint64_t off, unsigned flags,
			     struct qcow2_error *err)
{
	uint64_t began_ns;
	int rc;

	if (!l->reads)
		return l->ops->read(l, dst, len, off, flags, err);
	began_ns = requests_clock();
	rc = l->ops->read(l, dst, len, off, flags, err);
	return requests_count(l->reads, rc, len, began_ns);
}

int layer_read(struct layer *l, struct iov_cursor *dst, uint64_t len,
	       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	uint64_t here = off < l->size ? min_u64(len, l->size - off) : 0;
	int rc = here ? layer_read_inside(l, dst, here, off, flags, err) : 0;

	if (rc < 0)
		return error_in_layer(err, rc, l->depth);
	iov_zero(dst, len - here);
	return 0;
}

int disk_preadv(struct disk *d, const struct iovec *iov, int iovcnt,
		uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct iov_cursor dst = iov_cursor_init(iov, iovcnt);
	uint64_t len = iov_len(iov, iovcnt);

	VALIDATE(disk, d);
	assert(off <= disk_size(d) && len <= disk_size(d) - off);
	if (d->metadata_only)
		return error_set(err, -EPERM,
				 "the image was opened for its metadata only");
	return layer_read(&d->layers[0], &dst, len, off, flags, err);
}

int disk_pread(struct disk *d, void *buf, size_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err)
{
	struct iovec iov = { buf, len };

	return disk_preadv(d, &iov, 1, off, flags, err);
}
