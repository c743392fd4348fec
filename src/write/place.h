/*
 * Filling a new image: places first, data afterwards.
 *
 * A caller that fills an image that nobody else knows yet (a copy in the
 * making) need not hold its entries back until the data is written: the image
 * is worth nothing until it is complete.  So the caller asks for places in
 * guest order, which makes the image the same however many threads there are,
 * and writes to them in any order.  When one of these writes fails the image
 * must be thrown away.
 *
 * Only one thread asks for places at a time, and no request overlaps the ranges
 * that were given out until they are written.
 */
#ifndef WRITE_PLACE_H
#define WRITE_PLACE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <qcow2.h>

struct image;

/*
 * Returns the place for the first *here of the @len bytes at @off: linked, not
 * written.  The rest of their clusters reads as zeros.  *here is 0 if there is
 * no such place: use image_pwritev() then.
 */
int image_place(struct image *img, uint64_t len, uint64_t off, uint64_t *here,
		uint64_t *host_off, struct qcow2_error *err);

/* The same for a cluster at @off that was encoded into @len bytes; *host_off is
 * 0 where only image_write_encoded() will do. */
int image_place_encoded(struct image *img, size_t len, uint64_t off,
			uint64_t *host_off, struct qcow2_error *err);

/* Writes to places. */
int image_write_placed(struct image *img, const struct iovec *iov, int iovcnt,
		       uint64_t host_off, struct qcow2_error *err);

#endif
