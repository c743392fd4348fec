/*
 * Changing a disk: only its top layer is ever written to.
 */
#include <errno.h>

#include "base/error.h"
#include "chain/disk_impl.h"
#include "chain/watch.h"

int disk_make_writable(struct disk *d, const struct qcow2_open_opts *opts,
		       struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	const struct layer_write_ops *write = top->ops->write;
	int rc = write->start ? write->start(top, opts, err) : 0;

	d->writable = rc == 0;
	return rc;
}

int disk_check_writable(const struct disk *d, struct qcow2_error *err)
{
	if (d->writable)
		return 0;
	return error_set(err, -EBADF, "the image is not open for writing");
}

void disk_set_below(struct disk *d, struct disk *below)
{
	struct layer *top = &d->layers[0];

	top->ops->write->set_below(top, &below->layers[0]);
}

int disk_pwritev(struct disk *d, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);
	SCOPED_VALIDATE(disk, d);

	if (rc < 0)
		return rc;
	rc = top->ops->write->pwritev(top, iov, iovcnt, off, flags, err);
	return watch_disk(d, rc, err);
}

int disk_zero(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);
	SCOPED_VALIDATE(disk, d);

	if (rc < 0)
		return rc;
	rc = top->ops->write->zero(top, len, off, flags, err);
	return watch_disk(d, rc, err);
}

int disk_discard(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
		 struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);
	SCOPED_VALIDATE(disk, d);

	if (rc < 0)
		return rc;
	rc = top->ops->write->discard(top, len, off, flags, err);
	return watch_disk(d, rc, err);
}

int disk_flush(struct disk *d, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];

	return d->writable
		       ? watch_flushed(d, top->ops->write->flush(top, err), err)
		       : 0;
}

int disk_recover(struct disk *d, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	rc = top->ops->write->recover(top, err);
	return watch_recovered(d, rc, err);
}

/* ---- Compressed clusters ------------------------------------------------- */

static int check_encodes(const struct disk *d, struct qcow2_error *err)
{
	const struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	return rc < 0 || top->ops->encode
		       ? rc
		       : layer_refuse(top, "cannot be compressed", err);
}

int disk_write_compressed(struct disk *d, const void *buf, uint64_t len,
			  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = check_encodes(d, err);

	if (rc < 0)
		return rc;
	rc = watch_disk(d, top->ops->encode->write(top, buf, len, off, err),
			err);
	return rc == 0 && (flags & QCOW2_FUA) ? disk_flush(d, err) : rc;
}

int disk_encode(struct disk *d, void *dst, const void *src, size_t *n,
		struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = check_encodes(d, err);

	return rc < 0 ? rc : top->ops->encode->encode(top, dst, src, n, err);
}

int disk_write_encoded(struct disk *d, const void *bytes, size_t n,
		       const void *cluster, uint64_t off,
		       struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = check_encodes(d, err);

	if (rc < 0)
		return rc;
	rc = top->ops->encode->write_encoded(top, bytes, n, cluster, off, err);
	return watch_disk(d, rc, err);
}

int disk_set_level(struct disk *d, uint32_t level, uint32_t *old,
		   struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = check_encodes(d, err);

	return rc < 0 ? rc : top->ops->encode->set_level(top, level, old, err);
}

/* ---- Places -------------------------------------------------------------- */

bool disk_gives_places(const struct disk *d)
{
	return d->layers[0].ops->place;
}

int disk_place(struct disk *d, uint64_t len, uint64_t off, uint64_t *here,
	       uint64_t *host_off, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];

	return top->ops->place->place(top, len, off, here, host_off, err);
}

int disk_place_encoded(struct disk *d, size_t len, uint64_t off,
		       uint64_t *host_off, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];

	return top->ops->place->place_encoded(top, len, off, host_off, err);
}

int disk_write_placed(struct disk *d, const struct iovec *iov, int iovcnt,
		      uint64_t host_off, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];

	return watch_disk(
		d, top->ops->place->write(top, iov, iovcnt, host_off, err),
		err);
}

struct qcow2_store *disk_place_store(struct disk *d)
{
	return d->layers[0].data;
}
