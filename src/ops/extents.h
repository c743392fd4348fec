/*
 * The extents of one disk, in order, remembered between questions: the rest of
 * a long extent is not looked up again.  Not thread-safe; the walk that owns it
 * has a lock.
 */
#ifndef OPS_EXTENTS_H
#define OPS_EXTENTS_H

#include "base/validate.h"
#include "chain/disk.h"

struct extents {
	struct disk *disk;
	uint64_t size;      /* where the walk takes the disk to end */
	uint64_t ask_bytes; /* how far the next look-up looks */
	struct qcow2_extent current;
};

/* The caller must have the lock of the walk. */
VALIDATOR(extents);

/* The disk is taken to end where it ends now, or at @end. */
void extents_init(struct extents *e, struct disk *d, uint64_t end);

/*
 * Returns the rest of the extent at @pos, which must not go back from one call
 * to the next.  Past the end of the disk there are endless zeros, not present.
 */
int extents_at(struct extents *e, uint64_t pos, struct qcow2_extent *out,
	       struct qcow2_error *err);

#endif
