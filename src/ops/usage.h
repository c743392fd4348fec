/*
 * The totals of a disk: how much of it is data, zeros, or not there at all.
 */
#ifndef OPS_USAGE_H
#define OPS_USAGE_H

#include <qcow2.h>

struct disk;

/* Fills all of *out but struct_size; @flags: QCOW2_MAP_*.  Reads all metadata
 * of the disk.  On failure *out means nothing. */
int usage_count(struct disk *d, unsigned flags, struct qcow2_usage *out,
		struct qcow2_error *err);

#endif
