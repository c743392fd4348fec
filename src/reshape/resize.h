/*
 * Changing the size of the disk.
 */
#ifndef RESHAPE_RESIZE_H
#define RESHAPE_RESIZE_H

#include <stdint.h>

#include <qcow2.h>

struct image;

/* See qcow2_resize().  One at a time; when the disk becomes smaller no request
 * may be under way.  Afterwards, also after a failure, img->virtual_size is the
 * size that the disk has. */
int image_resize(struct image *img, uint64_t size,
		 const struct qcow2_resize_opts *opts, struct qcow2_error *err);

/* Refuses a size that @opts do not allow for a disk of @old bytes, of any
 * format. */
int resize_check_opts(const struct qcow2_resize_opts *opts, uint64_t size,
		      uint64_t old, struct qcow2_error *err);

/* Refuses the arguments that image_resize() would refuse, given that the image
 * has format version @version by then. */
int image_resize_check(const struct image *img, uint64_t size,
		       const struct qcow2_resize_opts *opts, uint32_t version,
		       struct qcow2_error *err);

/* Makes all changes durable, and then the size, with bitmaps that fit it. */
int resize_switch(struct image *img, uint64_t size, struct qcow2_error *err);

/*
 * O15: the smaller size first, then entries beyond it, then what they pointed
 * to, then tables.  An error leaves the disk small, with leaks at worst.
 */
int image_shrink(struct image *img, uint64_t size, struct qcow2_error *err);

/* Tells the caller how much of the new area is done; -ECANCELED. */
int resize_tell(const struct qcow2_resize_opts *opts, uint64_t done,
		uint64_t total, struct qcow2_error *err);

/* store_preallocate() for the new area [off, end), piece by piece, between which
 * the caller may stop it: -ECANCELED. */
int resize_preallocate(struct qcow2_store *store, uint64_t end, uint64_t off,
		       const struct qcow2_resize_opts *opts,
		       struct qcow2_error *err);

/*
 * Gives all clusters of [off, end), which read as zeros, a place of their own,
 * with host space as opts->preallocation (not OFF) wants it.  Inside the disk as
 * far as img->virtual_size says.  Tells the caller of it.
 */
int image_preallocate(struct image *img, uint64_t end, uint64_t off,
		      const struct qcow2_resize_opts *opts,
		      struct qcow2_error *err);

#endif
