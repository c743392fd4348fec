/*
 * A walk over a table of fixed entries, in rows of equal ones.
 *
 * The table is read piece by piece, so that it costs the same memory however
 * long it is, and only as far as the file goes: an image that lost its end
 * still has the beginning of its tables.
 */
#ifndef DUMP_TABLE_H
#define DUMP_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "dump/context.h"
#include "format/l2.h"

#define TABLE_PIECE_BYTES 8192

struct table {
	uint64_t off;
	uint64_t n;       /* entries there should be */
	uint64_t n_there; /* that the file has */
	uint64_t next;    /* entry */
	uint32_t bits;    /* of an entry, a power of two up to 128 */
	uint64_t first;   /* entry in piece */
	uint64_t n_piece;
	uint8_t piece[TABLE_PIECE_BYTES];
};

struct row {
	uint64_t index;
	uint64_t count;
	struct l2_entry entry; /* desc alone where entries have up to 64 bits */
};

/* @n is below 2^53. */
void table_init(struct table *t, const struct dump *d, uint64_t off, uint64_t n,
		uint32_t bits);

/* Begins at entry @index; from the end on there is nothing. */
void table_skip_to(struct table *t, uint64_t index);
/* As table_next(), of entry @index alone, which ends the walk. */
int table_get(struct dump *d, struct table *t, uint64_t index, struct row *row,
	      struct qcow2_error *err);

/* Returns the offset of entry @index in the file, or NOWHERE if there is
 * none. */
uint64_t table_place(const struct table *t, uint64_t index);

/* 1 and *row, 0 at the end of what is there, or a negative errno. */
int table_next(struct dump *d, struct table *t, struct row *row,
	       struct qcow2_error *err);

/* Tells one row of a table; @of: what the caller of the walk gave. */
typedef int table_row_fn(struct dump *d, const struct table *t, uint64_t of,
			 const struct row *row, struct qcow2_error *err);

/* Tells all rows from the next one on, and then of entries that the file does
 * not have, if there are any. */
int table_tell_rows(struct dump *d, struct table *t, table_row_fn *tell,
		    uint64_t of, struct qcow2_error *err);
/* Tells of @count entries from @index on that are not read: the file ends
 * before them, or the table does, or it is too long. */
int table_tell_unread(struct dump *d, const struct table *t, uint64_t index,
		      uint64_t count, struct qcow2_error *err);

/* "index", and "count" where it is not 1. */
void record_row(struct record *r, const struct row *row);

#endif
