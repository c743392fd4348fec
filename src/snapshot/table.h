/*
 * Changing the snapshot table: a new one is written beside the old one, then
 * one sector of the header switches to it (O16, O18).
 */
#ifndef SNAPSHOT_TABLE_H
#define SNAPSHOT_TABLE_H

#include <stdint.h>

#include <qcow2.h>

#include "image/snapshots.h"

struct image;

/* Bytes of metadata in clusters of their own that nothing points to yet. */
struct fresh_table {
	uint64_t host_off; /* 0: none */
	uint64_t bytes;
};

/* Claims clusters and writes @bytes at @buf there, which has room for whole
 * clusters; the guard knows them from then on. */
int fresh_table_write(struct image *img, const uint8_t *buf, uint64_t bytes,
		      struct fresh_table *out, struct qcow2_error *err);
/* Gives the clusters of a table back that nothing durable points to but, it may
 * be, an unsettled header. */
void table_drop(struct image *img, const struct fresh_table *t);

/* The same for an L1 table of @n entries, without their COPIED flags; *host_off
 * is 0 when it has none. */
int fresh_l1_write(struct image *img, const uint64_t *l1, uint64_t n,
		   uint64_t *host_off, struct qcow2_error *err);
void l1_table_drop(struct image *img, uint64_t n, uint64_t host_off);

/* Writes the table that lists @s. */
int snapshot_table_write(struct image *img, const struct snapshots *s,
			 struct fresh_table *out, struct qcow2_error *err);

/*
 * Makes everything durable and points the header to @t, which lists @s; the
 * image has that list and the old one is freed, but for what both have.  On
 * failure the image has the old list, and @t is dropped; clusters that the new
 * list needs must stay as long as the header is unsettled.
 */
int snapshot_table_switch(struct image *img, struct snapshots *s,
			  struct fresh_table *t, struct qcow2_error *err);

#endif
