/*
 * Filling a new disk: see write/place.h.
 */
#include "write/place.h"

#include "chain/disk.h"
#include "chain/disk_impl.h"
#include "image/image.h"

int disk_place(struct disk *d, uint64_t len, uint64_t off, uint64_t *here,
	       uint64_t *host_off, struct qcow2_error *err)
{
	return image_place(d->layers[0].image, len, off, here, host_off, err);
}

int disk_place_encoded(struct disk *d, size_t len, uint64_t off,
		       uint64_t *host_off, struct qcow2_error *err)
{
	return image_place_encoded(d->layers[0].image, len, off, host_off, err);
}

int disk_write_placed(struct disk *d, const struct iovec *iov, int iovcnt,
		      uint64_t host_off, struct qcow2_error *err)
{
	return image_write_placed(d->layers[0].image, iov, iovcnt, host_off,
				  err);
}

struct qcow2_store *disk_place_store(struct disk *d)
{
	return d->layers[0].image->data;
}
