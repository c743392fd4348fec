/*
 * The header sector of an image that is written: all that one atomic write of
 * the header switches (I6).
 *
 * All changes of img->header happen under header_lock and are durable when the
 * function returns.  When one fails, memory keeps the old header.  If the write
 * failed the sector may be on the disk all the same: the old one is written
 * again at once, and if that fails too the header is *unsettled* until it
 * succeeds, which every commit sees to before anything else.  Until then both
 * headers are right, so clusters that the new one points to must not be used
 * again.
 */
#ifndef WRITE_HEADER_SECTOR_H
#define WRITE_HEADER_SECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "counts/refcounts.h"
#include "format/header.h"

struct image;

/* Changes the header that header_sector_update() writes. */
typedef void header_change_fn(struct header *h, void *opaque);

/* Changes the header in memory and on disk, durably; the image's old header
 * comes back when the sector cannot be written.  _locked: the caller must hold
 * header_lock. */
int header_sector_update(struct image *img, header_change_fn *change,
			 void *opaque, struct qcow2_error *err);
int header_sector_update_locked(struct image *img, header_change_fn *change,
				void *opaque, struct qcow2_error *err);

/* Writes another first sector, and a barrier.  header_lock is held; the caller
 * must bring memory up to date. */
int header_sector_write(struct image *img, const uint8_t sector[SECTOR_BYTES],
			struct qcow2_error *err);

/* Brings the header of memory to the disk when it is unsettled; the second with
 * header_lock held. */
int header_sector_settle(struct image *img, struct qcow2_error *err);
int header_sector_settle_locked(struct image *img, struct qcow2_error *err);
bool header_sector_is_settled(struct image *img);

/* Gives back clusters that nothing points to but, it may be, an unsettled
 * header. */
void header_sector_unclaim(struct image *img, const struct claim *claim);

#endif
