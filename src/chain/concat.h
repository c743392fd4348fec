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
 * A store that reads as the @n disks, each of which begins at a multiple of 512
 * and is followed by zeros up to the next.  The disks are borrowed for as long
 * as the store lives.  -EFBIG when they are too large together.
 */
int concat_new(struct disk *const *disks, uint32_t n, struct qcow2_store **out,
	       struct qcow2_error *err);

/* Whether @s is such a store and one of its disks reads from @file. */
bool concat_reads(struct qcow2_store *s, struct qcow2_store *file);

#endif
