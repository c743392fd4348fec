/*
 * VM state: bytes that belong to a snapshot and not to its disk.  They lie in
 * the same tree of L1 and L2 tables, behind the last L1 entry of the disk, so
 * that a snapshot's copy of the L1 table has them as well.
 */
#ifndef SNAPSHOT_VMSTATE_H
#define SNAPSHOT_VMSTATE_H

#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

struct image;

/* Returns its beginning, as a guest offset. */
uint64_t vmstate_begin(const struct image *img);

/* How many bytes have a place in the L1 table. */
uint64_t vmstate_room(const struct image *img);

/* The L1 table grows as needed.  No other request may be under way. */
int image_vmstate_write(struct image *img, const void *buf, size_t len,
			uint64_t off, struct qcow2_error *err);
/* Parts that were never written read as zeros. */
int image_vmstate_read(struct image *img, void *buf, size_t len, uint64_t off,
		       struct qcow2_error *err);

/* The active disk has no VM state any more; a snapshot has it, so that no
 * cluster becomes free.  Writers are kept out. */
int vmstate_drop(struct image *img, struct qcow2_error *err);

#endif
