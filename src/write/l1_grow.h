/*
 * A longer L1 table (O13), for a larger disk and for VM state behind it.
 */
#ifndef WRITE_L1_GROW_H
#define WRITE_L1_GROW_H

#include <stdint.h>

#include <qcow2.h>

struct image;
struct l1_switch;

/* The image has a writer, and no write is under way. */
void l1_grow_validate(const struct image *img);

/* Entries that the table in the file has; the one in memory ends with the
 * disk. */
uint64_t l1_entries_in_file(const struct image *img);

/*
 * Makes the L1 table at least @n_entries long, in memory and in the file.
 * Entries that the file had behind those in memory (VM state, or what a larger
 * disk left there) come into memory with what they hold; all others are 0.
 * Commits first.  The caller must keep writers out, and hold snapshot_lock;
 * readers go on.
 *
 * Order: the new table and its refcounts are durable before the header sector
 * {l1_size, l1_off} points to it; then the old one is freed.  -EFBIG when the
 * table would exceed its limit.
 */
int l1_lengthen(struct image *img, uint64_t n_entries, struct qcow2_error *err);

/* Makes it @n_entries long, both in memory and in the file, when it is longer:
 * all entries behind are 0, durably.  O15: the header first, then the end of
 * the table is freed.  No request may be under way. */
int l1_shorten(struct image *img, uint64_t n_entries, struct qcow2_error *err);

/* l1_switch_use() for the image's own table: the findings about the old one are
 * forgotten.  No request may be under way. */
void l1_use(struct image *img, struct l1_switch *s);

#endif
