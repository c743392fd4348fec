/*
 * The feature bits of an image that is written, and why the dirty bit is set.
 * They change through write/header_sector.h, durably.
 */
#ifndef WRITE_FEATURES_H
#define WRITE_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

struct image;

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

/* Whether there is nothing for features_before_guest_change() to do. */
bool features_allow_guest_change(const struct image *img);

/* Relations between the header in memory and the writer; the caller must hold
 * header_lock, or have the image to himself. */
void features_validate(const struct image *img);

/* Reasons why refcounts and COPIED flags may disagree with the pointers
 * (O26). */
enum dirty_reason {
	DIRTY_LAZY = 1,      /* refcounts are written late */
	DIRTY_OPERATION = 2, /* an operation changes many at once */
	DIRTY_UNWRITTEN = 4, /* one that has ended is not on the disk yet */
	DIRTY_REPAIR = 8,    /* one could not end: the bit stays */
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
