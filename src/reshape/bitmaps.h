/*
 * Persistent bitmaps across a change of the disk's size.
 *
 * A bitmap has one bit for so many bytes of the disk: its table becomes longer
 * or shorter with it.  New bits are 0, bits behind the new end are dropped.
 * Tables, the clusters in which disks end, and the directory are written
 * beside the old ones; the sector of the header that has the size switches to
 * them as well.
 */
#ifndef RESHAPE_BITMAPS_H
#define RESHAPE_BITMAPS_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "commit/commit.h"
#include "counts/refcounts.h"
#include "format/extension.h"

struct image;

struct bitmaps_resize {
	struct image *img;
	uint64_t old_size;
	uint64_t size;            /* of the disk, from now on */
	bool changes;             /* false: the bitmaps may stay as they are */
	struct bitmaps_ext place; /* of the new one */
	struct claim *fresh;      /* nothing points to these yet */
	size_t n_fresh;
	struct freed_list stale; /* nothing will point to these any more */
};

VALIDATOR(bitmaps_resize);

/* Refuses bitmaps that cannot have @size: those in use, of which nobody knows
 * what they miss, and damaged ones. */
int bitmaps_resize_check(const struct image *img, uint64_t size,
			 struct qcow2_error *err);

/* Writes what the bitmaps need for a disk of @size bytes; nothing of it shows.
 * To be released whatever is returned. */
int bitmaps_resize_prepare(struct bitmaps_resize *r, struct image *img,
			   uint64_t size, struct qcow2_error *err);

/* The header has the size, durably, and r->place if r->changes. */
void bitmaps_resize_done(struct bitmaps_resize *r);

/* Gives back what no header points to. */
void bitmaps_resize_release(struct bitmaps_resize *r);

#endif
