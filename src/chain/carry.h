/*
 * A request of a disk whose bytes somebody else carries, such as the kernel:
 * begun by a layer, which says where the bytes are, and ended by it.
 *
 * This is for a request whose bytes are in one place and that waits for
 * nothing; for all others there are disk_preadv() and disk_pwritev().
 */
#ifndef CHAIN_CARRY_H
#define CHAIN_CARRY_H

#include <stdint.h>

#include <qcow2.h>

#include "store/transfer.h"
#include "write/carry.h"
#include "write/inflight.h"

struct disk;
struct layer;

/* Others point to it: it stays where it is until it is ended. */
struct carried {
	/* What is to be carried; without a store nothing is: the bytes read as
	 * zeros. */
	struct transfer transfer;
	struct layer *layer;        /* the one to end it */
	struct grace_ref grace;     /* of a read */
	struct carried_write write; /* of a write to a qcow2 layer */
};

/* Begin the request for [off, off + len), which lies inside the disk and is not
 * empty.  0, -EAGAIN when only disk_preadv() or disk_pwritev() will do, or what
 * those would return. */
int disk_begin_read(struct disk *d, uint64_t len, uint64_t off,
		    struct carried *c, struct qcow2_error *err);
int disk_begin_write(struct disk *d, uint64_t len, uint64_t off,
		     struct carried *c, struct qcow2_error *err);

/* After the bytes have moved, or have not: see carried_write_end(). */
int disk_end_carried(struct carried *c, int rc, unsigned flags,
		     struct qcow2_error *err);

/* See write/inflight.h; a disk that is not written needs none. */
void disk_add_carrier(struct disk *d, struct inflight_carrier *carrier);
void disk_remove_carrier(struct disk *d, struct inflight_carrier *carrier);

#endif
