/*
 * The header sector of an image that is written: the feature bits and whatever
 * else one atomic write of the header switches (I6).
 *
 * All changes of img->header happen under header_lock and are durable when the
 * function returns.  When one fails, memory keeps the old header.  Where the
 * write failed the sector may be on the disk all the same: the old one is written
 * again at once, and where that fails too the header is *unsettled* until it
 * succeeds, which every commit sees to before anything else.  Until then both
 * headers are right, so what the new one points to must not be used again.
 */
#ifndef WRITE_FEATURES_H
#define WRITE_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "counts/refcounts.h"
#include "format/geometry.h"
#include "format/header.h"

struct image;

/* What functions do to the header that header_update() writes. */
typedef void header_change_fn(struct header *h, void *opaque);

/* Changes the header in memory and on disk, durably; the image's old header
 * comes back when the sector cannot be written. */
int header_update(struct image *img, header_change_fn *change, void *opaque,
		  struct qcow2_error *err);

/* Writes another first sector, and a barrier.  header_lock is held; memory gets
 * what it says from the caller. */
int header_first_sector_write(struct image *img,
			      const uint8_t sector[SECTOR_BYTES],
			      struct qcow2_error *err);

/* Brings the header of memory to the disk when it is unsettled; the second with
 * header_lock held. */
int header_settle(struct image *img, struct qcow2_error *err);
int header_settle_locked(struct image *img, struct qcow2_error *err);
bool header_is_settled(struct image *img);

/* Gives back clusters that nothing points to but, it may be, an unsettled
 * header. */
void header_unclaim(struct image *img, const struct claim *claim);

struct feature_change {
	uint64_t set_incompatible;
	uint64_t clear_incompatible;
	uint64_t clear_autoclear;
};

/* Writes nothing when all is as wanted, or in version 2, which has no bits. */
int features_change(struct image *img, struct feature_change change,
		    struct qcow2_error *err);

/* Sets the corrupt bit, durably, before the caller reports @code; no change is
 * taken after it (O27). */
int features_mark_corrupt(struct image *img, int code);

/* Clears the autoclear bits that no change of this version keeps true (C5). */
int features_open(struct image *img, struct qcow2_error *err);

/* Before guest data changes: the persistent bitmaps, which do not record what
 * this version writes, lose the bit by which they are trusted. */
int features_before_guest_change(struct image *img, struct qcow2_error *err);

/* Between them writing changes nothing that a bitmap could be about, and the bit
 * stays.  For who has the image to himself. */
bool features_keep_bitmaps(struct image *img);
void features_end_keep_bitmaps(struct image *img, bool kept);

/* Why refcounts and COPIED flags may disagree with the pointers (O26). */
enum dirty_reason {
	DIRTY_LAZY = 1,       /* refcounts are written late */
	DIRTY_OPERATION = 2,  /* an operation changes many at once */
	DIRTY_UNWRITTEN = 4,  /* one that has ended is not on the disk yet */
	DIRTY_REPAIR = 8,     /* one could not end: the bit stays */
};

/* The dirty bit is on the disk from the first begin to the last end.  Version 2
 * has no such bit: nothing happens. */
int features_begin_dirty(struct image *img, enum dirty_reason reason,
			 struct qcow2_error *err);
int features_end_dirty(struct image *img, unsigned reasons,
		       struct qcow2_error *err);
/* The operation has ended, and the next commits write what is left of it: the
 * bit goes when another operation or closing finds all of it written. */
void features_end_operation_later(struct image *img);
void features_leave_to_repair(struct image *img);
/* An operation has failed, and could not undo what it did. */
bool features_is_unfinished(struct image *img);

#endif
