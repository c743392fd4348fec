/*
 * An operation that changes many tables at once has the dirty bit set
 * meanwhile.  If it fails, and cannot be undone for want of room, it stays
 * unfinished: the next operation, a settle or the close puts the COPIED flags
 * right.
 */
#ifndef WRITE_UNFINISHED_H
#define WRITE_UNFINISHED_H

#include <qcow2.h>

struct image;

/* Makes durable what was done or undone, and clears the dirty bit.  Returns
 * @rc, the result of the operation, if that is an error. */
int unfinished_end(struct image *img, int rc, struct qcow2_error *err);

/* The operation failed with @rc and could not be undone: for want of room that
 * waits for unfinished_recover(), all else for the repair. */
void unfinished_leave(struct image *img, int rc);

/* Finishes what an operation left: COPIED flags, then the dirty bit.  Writers
 * are kept out, and nothing is dirty. */
int unfinished_recover(struct image *img, struct qcow2_error *err);

#endif
