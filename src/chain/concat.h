/*
 * Several disks as one, one after the other.
 */
#ifndef CHAIN_CONCAT_H
#define CHAIN_CONCAT_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

struct disk;

/*
 * A disk that reads as the @n disks, each of which begins at a multiple of 512
 * and is followed by zeros up to the next: a raw layer over a store of its own.
 * The disks are borrowed for as long as it is open.  -EFBIG when they are too
 * large together.
 */
int concat_open(struct disk *const *disks, uint32_t n, struct disk **out,
		struct qcow2_error *err);

/* Whether @s is the store of such a disk, and one of its disks reads from
 * @file. */
bool concat_reads(struct qcow2_store *s, struct qcow2_store *file);

#endif
