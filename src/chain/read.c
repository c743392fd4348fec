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
#include "store/store.h"
#include "write/writer.h"

static int read_raw(const struct layer *l, struct iov_cursor *dst, uint64_t len,
		    uint64_t off, unsigned flags, struct qcow2_error *err)
{
	unsigned store_flags = flags & QCOW2_NOWAIT ? QCOW2_STORE_NOWAIT : 0;

	return store_read_cursor(l->store, dst, len, off, store_flags, err);
}

/* The part that layer @depth does not have. */
static int read_below(struct disk *d, uint32_t depth, struct iov_cursor *dst,
		      uint64_t len, uint64_t off, unsigned flags,
		      struct qcow2_error *err)
{
	if (depth + 1 < d->n_layers)
		return disk_read_from(d, depth + 1, dst, len, off, flags, err);
	iov_zero(dst, len);
	return 0;
}

static bool is_unallocated(enum subcluster_kind kind)
{
	return kind == SUBCLUSTER_UNALLOCATED_PLAIN ||
	       kind == SUBCLUSTER_UNALLOCATED_ALLOC;
}

static int read_image(struct disk *d, uint32_t depth, struct iov_cursor *dst,
		      uint64_t len, uint64_t off, unsigned flags,
		      struct qcow2_error *err)
{
	struct image *img = d->layers[depth].image;

	while (len) {
		struct grace_ref ref = writer_grace_begin(img);
		struct image_extent x;
		int rc = image_map(img, len, off, flags, &x, err);

		if (rc == 0 && is_unallocated(x.kind))
			rc = read_below(d, depth, dst, x.len, off, flags, err);
		else if (rc == 0)
			rc = image_read(img, dst, x.len, off, &x, flags, err);
		writer_grace_end(ref);
		if (rc < 0)
			return rc;
		len -= x.len;
		off += x.len;
	}
	return 0;
}

int disk_read_from(struct disk *d, uint32_t depth, struct iov_cursor *dst,
		   uint64_t len, uint64_t off, unsigned flags,
		   struct qcow2_error *err)
{
	const struct layer *l = &d->layers[depth];
	uint64_t here = off < l->size ? min_u64(len, l->size - off) : 0;
	int rc = 0;

	if (here && l->image)
		rc = read_image(d, depth, dst, here, off, flags, err);
	else if (here)
		rc = read_raw(l, dst, here, off, flags, err);
	if (rc < 0)
		return error_in_layer(err, rc, depth);
	iov_zero(dst, len - here);
	return 0;
}

int disk_preadv(struct disk *d, const struct iovec *iov, int iovcnt,
		uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct iov_cursor dst = iov_cursor_init(iov, iovcnt);
	uint64_t len = iov_len(iov, iovcnt);

	assert(off <= disk_size(d) && len <= disk_size(d) - off);
	if (d->metadata_only)
		return error_set(err, -EPERM,
				 "the image was opened for its metadata only");
	return disk_read_from(d, 0, &dst, len, off, flags, err);
}

int disk_pread(struct disk *d, void *buf, size_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err)
{
	struct iovec iov = { buf, len };

	return disk_preadv(d, &iov, 1, off, flags, err);
}
