/*
 * A guest write whose bytes somebody else carries: the steps of write/write.h
 * with time between them.  It is begun, which finds the bytes their place; they
 * move there; it is ended, which links the entries.
 *
 * This is for a write whose bytes go to one place and that waits for nothing:
 * anything else is for image_pwritev().  Between begin and end the range is in
 * flight, as it is while another write moves its bytes.
 */
#ifndef WRITE_CARRY_H
#define WRITE_CARRY_H

#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "commit/grace.h"
#include "write/inflight.h"
#include "write/look.h"
#include "write/run.h"

struct image;

/* Others point to it: it stays where it is. */
struct carried_write {
	struct image *img;
	struct grace_ref grace;
	struct inflight_range range;
	struct look look;
	struct run run;    /* if look.kind is NEW */
	uint64_t host_off; /* in the image's data file */
};

/* Between begin and end. */
VALIDATOR(carried_write);

/* @len is not 0.  Never waits.  Returns 0, -EAGAIN when image_pwritev() has to
 * do it, or an error of the image. */
int carried_write_begin(struct image *img, uint64_t len, uint64_t off,
			struct carried_write *w, struct qcow2_error *err);

/*
 * After the bytes have arrived, or after they have not: @rc, 0 or -errno, which
 * is returned if it is an error.  flags: with QCOW2_NOWAIT -EAGAIN rather than
 * wait for an L2 slice, and the caller must call again without it, with the
 * same @rc.
 */
int carried_write_end(struct carried_write *w, int rc, unsigned flags,
		      struct qcow2_error *err);

#endif
