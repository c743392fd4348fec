/*
 * What of an image the overlap guard knows, and what happens when a write
 * would hit it.
 */
#ifndef IMAGE_GUARDED_H
#define IMAGE_GUARDED_H

#include <stdint.h>

#include <qcow2.h>

struct image;

/* Fills the guard from the header and the tables that are in memory. */
int guarded_open(struct image *img, struct qcow2_error *err);

/* 0, or -EIO for a write of guest data or of a new table to [host_off,
 * host_off + len) of the image file that would overwrite metadata; the corrupt
 * bit is durable then.  @len is not 0. */
int guarded_check(struct image *img, uint64_t len, uint64_t host_off,
		  struct qcow2_error *err);

#endif
