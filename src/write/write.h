/*
 * Writing data to clusters that the caller has in flight.
 */
#ifndef WRITE_WRITE_H
#define WRITE_WRITE_H

#include <stdint.h>

#include <qcow2.h>

#include "base/iov.h"

struct image;
struct look;

/* The look of a request that writes; -EIO and the like when the image takes no
 * more changes. */
int look_to_write(struct image *img, uint64_t len, uint64_t off, unsigned flags,
		  struct look *l, struct qcow2_error *err);

/* With the flags of a guest's request: these bytes are behind the end of the
 * disk that callers know, so no bitmap is about them. */
#define WRITE_UNSEEN 0x80000000u

/* Writes the next @len bytes (not 0) of @src at @off; the clusters they touch
 * are in flight for the caller. */
int write_in_flight(struct image *img, struct iov_cursor *src, uint64_t len,
		    uint64_t off, struct qcow2_error *err);

/* Writes the next @len bytes of @src at @off, region by region.  flags:
 * QCOW2_NOWAIT. */
int write_regions(struct image *img, struct iov_cursor *src, uint64_t len,
		  uint64_t off, unsigned flags, struct qcow2_error *err);

/* A place for @len compressed bytes, which the guard agrees to, and its
 * descriptor; pack_cancel() gives it back. */
int image_reserve_encoded(struct image *img, uint32_t len, uint64_t *host_off,
			  uint64_t *desc, struct qcow2_error *err);

#endif
