/*
 * In-place compaction: clusters move from the end of the file into free space
 * nearer to its start, then the end is cut off.
 *
 * Everything that moves goes through the same steps (O38):
 *
 *   1. a free cluster is taken, with as many references as the old one has
 *   2. the bytes are copied
 *      -> barrier
 *   3. all pointers to the old cluster become pointers to the new one
 *      -> barrier
 *   4. the old cluster loses its refcount
 *
 * In between both clusters hold the same bytes and both are counted, so every
 * crash leaves a sound image with leaks at worst.  Work goes in rounds, each of
 * which is durable when it ends; between two rounds the caller may stop.
 *
 * Compressed data, which lies across clusters, moves the same way, but by the
 * sector: compact/packed.h.  Two things stay: an encryption header, and a table
 * for which no row of free clusters is long enough.
 *
 * The caller has exclusive access to the image: nothing reads or writes it
 * meanwhile.  Memory is three bits for each cluster that refcount blocks
 * describe, 24 MiB at most for the moves of a round, and the memory that
 * compact/packed.h names.
 */
#ifndef COMPACT_COMPACT_H
#define COMPACT_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/bitset.h"
#include "base/validate.h"
#include "format/l2.h"

struct image;
struct refcounts;

/* Refuses options that this image cannot honour, before anything is done. */
int image_compact_check(const struct image *img,
			const struct qcow2_compact_opts *opts,
			struct qcow2_error *err);

/* See qcow2_compact(); both complete, never NULL. */
int image_compact(struct image *img, const struct qcow2_compact_opts *opts,
		  struct qcow2_compact_result *result, struct qcow2_error *err);

/* ---- Between the files of compaction ------------------------------------- */

/* One cluster that moves; numbers of clusters. */
struct move {
	uint64_t from;
	uint64_t to;
	uint64_t count; /* references to it */
};

/* The moves of one round, in order of both numbers. */
struct moves {
	struct move *list;
	size_t n;
	size_t max; /* the list has room for */
};

/* Of many moves it looks at the first. */
VALIDATOR(moves);

struct compact {
	struct image *img;
	struct refcounts *refs; /* the image's, or of a dry run its own */
	const struct qcow2_compact_opts *opts;
	struct qcow2_compact_result *result;
	uint64_t n_file;      /* clusters that refcount blocks described in
				 * the file at the start */
	uint64_t end;         /* the last of them in use, and one */
	uint64_t goal;        /* where the file would end without holes */
	uint64_t hole;        /* no cluster below is free */
	struct bitset data;   /* clusters with guest data */
	struct bitset tables; /* L2 tables, of the disk and of snapshots */
	struct bitset packed; /* clusters with compressed data; in no other
				 * set */
	struct moves moves;
	struct packed *pieces; /* compressed data that moves; NULL: none */
};

/* Once the sets are there; of large sets it looks at a part. */
VALIDATOR(compact);

/* Clusters of the file now, without a tail that no refcount block describes. */
uint64_t compact_n_described(const struct compact *c);

/* scan.c: the clusters that the L1 and L2 tables of the disk and all snapshots
 * refer to. */
int compact_scan(struct compact *c, struct qcow2_error *err);

/* Calls @fn for every L2 table, each once. */
typedef int compact_table_fn(struct compact *c, uint64_t table_off,
			     struct qcow2_error *err);
int compact_each_table(struct compact *c, compact_table_fn *fn,
		       struct qcow2_error *err);

/* move.c: collects moves of @which from the goal on, takes the new clusters and
 * copies.  c->moves is empty when there is nothing to move or no place. */
int compact_begin_moves(struct compact *c, const struct bitset *which,
			struct qcow2_error *err);
/* The same for the @n clusters in a row from @from on, which stay in a row; not
 * when all of them lie before the goal. */
int compact_begin_row(struct compact *c, uint64_t n, uint64_t from,
		      struct qcow2_error *err);
/* The same for the table of @bytes at @off, and the copy is durable: its
 * pointer may change. */
int compact_begin_table(struct compact *c, uint64_t off, uint64_t bytes,
			struct qcow2_error *err);
/* The host offset where the first of the clusters goes; there is one. */
uint64_t compact_place(const struct compact *c);
/* Returns the move of cluster @from; NULL when it stays. */
const struct move *compact_find(const struct compact *c, uint64_t from);
/* All that pointed to the old clusters is durable elsewhere. */
int compact_end_moves(struct compact *c, struct bitset *which,
		      struct qcow2_error *err);
/* Nothing points to the new clusters. */
void compact_undo_moves(struct compact *c);

/* rewrite.c: the work that the flags ask for besides moving. */
int compact_rewrite(struct image *img, const struct qcow2_compact_opts *opts,
		    struct qcow2_compact_result *result,
		    struct qcow2_error *err);

/* entries.c: L2 entries follow the clusters that moved. */
int compact_repoint_entries(struct compact *c, struct qcow2_error *err);

/* tables.c: clusters that are no guest data.  Each moves as far as there is
 * room. */
int compact_move_l2_tables(struct compact *c, struct qcow2_error *err);
int compact_move_snapshots(struct compact *c, struct qcow2_error *err);
int compact_move_l1(struct compact *c, struct qcow2_error *err);
int compact_move_refcounts(struct compact *c, struct qcow2_error *err);

/* bitmaps.c */
int compact_move_bitmaps(struct compact *c, struct qcow2_error *err);

/* Tells the caller; -ECANCELED. */
int compact_progress(struct compact *c, struct qcow2_error *err);

#endif
