/*
 * Looks for news of a disk, and tells the caller's function for events; see
 * events.h.  The caller of these functions holds no lock and has nothing in
 * flight.
 */
#ifndef CHAIN_WATCH_H
#define CHAIN_WATCH_H

#include <stdint.h>

#include <qcow2.h>

struct disk;
struct events;

/* At the end of a call that can change the disk, and of no other: @rc is its
 * result, which is returned, and @err, which may be NULL, explains a failure. */
int watch_disk(struct disk *d, int rc, const struct qcow2_error *err);
/* The same for a flush. */
int watch_flushed(struct disk *d, int rc, const struct qcow2_error *err);
/* The same for a recovery: what was dead is not any more. */
int watch_recovered(struct disk *d, int rc, const struct qcow2_error *err);

/* When all layers are open. */
void watch_opened(struct disk *d);
/* Before: the image was dirty, and @n repairs were made.  @e may be NULL. */
void watch_repaired(struct events *e, uint64_t n);

#endif
