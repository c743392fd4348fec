/*
 * Changing a disk: only its top layer is ever written to.
 */
#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/iov.h"
#include "chain/disk_impl.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

static int read_below(void *opaque, struct iov_cursor *dst, uint64_t len,
		      uint64_t off, struct qcow2_error *err)
{
	return layer_read(opaque, dst, len, off, 0, err);
}

static bool below_is_zero(void *opaque, uint64_t len, uint64_t off)
{
	return layer_reads_zero(opaque, len, off);
}

static void set_below(struct layer *l, struct layer *below)
{
	l->image->writer->below =
		(struct below){ read_below, below, below->size, below_is_zero };
}

int disk_make_writable(struct disk *d, const struct qcow2_open_opts *opts,
		       struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = 0;

	if (top->image)
		rc = writer_open(top->image, opts, err);
	if (rc == 0 && top->image && top->below)
		set_below(top, top->below);
	d->writable = rc == 0;
	return rc;
}

int disk_check_writable(const struct disk *d, struct qcow2_error *err)
{
	if (d->writable)
		return 0;
	return error_set(err, -EBADF, "the image is not open for writing");
}

static int raw_pwritev(struct qcow2_store *store, const struct iovec *iov,
		       int iovcnt, uint64_t off, unsigned flags,
		       struct qcow2_error *err)
{
	unsigned nowait = flags & QCOW2_NOWAIT ? QCOW2_STORE_NOWAIT : 0;
	int rc = store_pwritev(store, iov, iovcnt, off, nowait, err);

	if (rc == 0 && (flags & QCOW2_FUA))
		rc = store_flush(store, err);
	return rc;
}

int disk_pwritev(struct disk *d, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	if (top->image)
		return image_pwritev(top->image, iov, iovcnt, off, flags, err);
	return raw_pwritev(top->store, iov, iovcnt, off, flags, err);
}

static int raw_zero(struct qcow2_store *store, uint64_t len, uint64_t off,
		    unsigned flags, struct qcow2_error *err)
{
	int rc = store_zero(store, len, off, store_zero_flags(flags), err);

	if (rc == 0 && (flags & QCOW2_FUA))
		rc = store_flush(store, err);
	return rc;
}

int disk_zero(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	if (top->image)
		return image_zero(top->image, len, off, flags, err);
	return raw_zero(top->store, len, off, flags, err);
}

int disk_discard(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
		 struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	if (top->image)
		return image_discard(top->image, len, off, flags, err);
	/* Without a map there is nothing to remember: giving space back is all
	 * that a discard can do, and need not do. */
	store_zero(top->store, len, off,
		   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK, NULL);
	return flags & QCOW2_FUA ? store_flush(top->store, err) : 0;
}

static int refuse_raw(struct qcow2_error *err)
{
	return error_set(err, -ENOTSUP, "a raw image cannot be compressed");
}

int disk_write_compressed(struct disk *d, const void *buf, uint64_t len,
			  uint64_t off, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	if (top->image)
		return image_write_compressed(top->image, buf, len, off, err);
	return refuse_raw(err);
}

int disk_flush(struct disk *d, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];

	if (!d->writable)
		return 0;
	if (top->image)
		return image_flush(top->image, err);
	return store_flush(top->store, err);
}

int disk_encode(struct disk *d, void *dst, const void *src, size_t *n,
		struct qcow2_error *err)
{
	struct image *img = d->layers[0].image;
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	return img ? image_encode(img, dst, src, n, err) : refuse_raw(err);
}

int disk_write_encoded(struct disk *d, const void *bytes, size_t n,
		       const void *cluster, uint64_t off,
		       struct qcow2_error *err)
{
	struct image *img = d->layers[0].image;
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	return img ? image_write_encoded(img, bytes, n, cluster, off, err)
		   : refuse_raw(err);
}

int disk_set_level(struct disk *d, uint32_t level, struct qcow2_error *err)
{
	struct image *img = d->layers[0].image;
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	return img ? image_set_level(img, level, err) : refuse_raw(err);
}

void disk_set_below(struct disk *d, struct disk *below)
{
	set_below(&d->layers[0], &below->layers[0]);
}
