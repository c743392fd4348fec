/*
 * L2 tables for writers: a new one where there is none, a copy where the
 * table is shared with a snapshot.
 */
#ifndef WRITE_TABLES_H
#define WRITE_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

struct image;

/*
 * Makes sure that the L2 table for @guest_off exists and has no other
 * reference.  O4: its contents reach the disk before its L1 entry.  O5: a
 * copied table loses its reference after the L1 entry points to the copy.
 */
int tables_make(struct image *img, uint64_t guest_off, struct qcow2_error *err);

/* Whether there is nothing for tables_make() to do. */
bool tables_are_ready(const struct image *img, uint64_t guest_off);

/* 0, or -EIO for L1 entry @index that breaks the format; the corrupt bit is
 * durable then. */
int tables_check_entry(struct image *img, uint64_t index, uint64_t entry,
		       struct qcow2_error *err);

#endif
