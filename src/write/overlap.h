/*
 * The structures that the overlap guard knows, and its answer when a write
 * would hit them.
 */
#ifndef WRITE_OVERLAP_H
#define WRITE_OVERLAP_H

#include <stdint.h>

#include <qcow2.h>

struct image;

/* Fills the guard from the header, the tables that are in memory and, for
 * QCOW2_OVERLAP_INACTIVE_L2, the snapshots' L1 tables.  @sections: as in
 * qcow2_open_opts.overlap_check. */
int overlap_open(struct image *img, uint32_t sections, struct qcow2_error *err);

/* Around a change of the snapshots: their L2 tables are forgotten before one
 * of them can become free, and learned from the new list. */
void overlap_forget_inactive_l2(struct image *img);
int overlap_learn_inactive_l2(struct image *img, struct qcow2_error *err);

/* 0, or -EIO for a write of guest data or of a new table to [host_off,
 * host_off + len) of the image file that would overwrite metadata; the corrupt
 * bit is durable then.  @len is not 0. */
int overlap_check(struct image *img, uint64_t len, uint64_t host_off,
		  struct qcow2_error *err);

#endif
