/*
 * Compaction of compressed data, which moves piece by piece: a piece is what
 * one descriptor names, from its first byte to the end of its last sector.
 *
 * Pieces only move towards the start of the file, for four reasons, which are
 * looked at in this order:
 *
 *   PACKED_GAPS    discards and rewrites leave gaps in clusters that hold
 *                  compressed data.  Pieces of the last such clusters fill the
 *                  gaps of the first ones.
 *   PACKED_SPARSE  clusters with large gaps fill fewer that are free, which
 *                  makes more free for those behind them.
 *   PACKED_END     pieces behind the goal move into gaps and free clusters
 *                  before it.
 *   PACKED_REST    pieces too large for all of these move into any other.
 *
 * A piece keeps its place in its first sector, so that its descriptor changes
 * in the offset alone and two neighbours that share a sector can share it at
 * the new place too.  It is written only to whole sectors that no piece uses
 * (O7).  Each entry that points to it counts once in every cluster it touches;
 * an L2 table that several L1 tables share counts as often as they point to it.
 * Only pieces whose move empties a cluster move at all.
 *
 * Memory: 16 MiB for the pieces of a round, 16 bytes for each L2 table, and for
 * each cluster with compressed data 24 bytes and a bit for each sector.
 * Compressed data stays if there are more than PACKED_CLUSTERS_MAX such
 * clusters, or they have more than PACKED_SECTORS_MAX sectors: that is 1.25 GiB
 * at most.
 */
#ifndef COMPACT_PACKED_H
#define COMPACT_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/bitset.h"
#include "compact/compact.h"
#include "image/image.h"

#define PACKED_SECTOR_BITS 9
#define PACKED_CLUSTERS_MAX (UINT64_C(1) << 25)
#define PACKED_SECTORS_MAX (UINT64_C(1) << 32)

enum packed_aim { PACKED_GAPS, PACKED_SPARSE, PACKED_END, PACKED_REST };

bool compact_packed_any(const struct compact *c);

/* Moves compressed data. */
int compact_packed_move(struct compact *c, enum packed_aim aim,
			struct qcow2_error *err);

/* How many clusters that would empty, about; changes the goal and c->packed to
 * what they would be then. */
int compact_packed_predict(struct compact *c, enum packed_aim aim,
			   uint64_t *n_emptied, struct qcow2_error *err);

/* Returns the new place of the compressed data of @desc: a descriptor without
 * flags, or 0 when it stays. */
uint64_t compact_packed_find(const struct compact *c, uint64_t desc);

/* ---- Between the files --------------------------------------------------- */

struct packed_piece {
	uint64_t host_off;
	uint64_t refs; /* entries that point to it */
	uint64_t to;   /* new host offset; 0: stays */
	uint32_t len;
	uint32_t below; /* next candidate, by number from 1; 0: none */
};

struct table_weight {
	uint64_t table_off;
	uint64_t n; /* L1 entries that point to it */
};

/* Clusters with compressed data have numbers of their own, in order: ranks. */
struct packed {
	struct compact *c;
	uint64_t n_ranks;
	uint64_t *ranks_before; /* by 512 clusters of the file */
	struct bitset used;     /* sectors that pieces lie in, by rank */
	uint64_t *refs;         /* by rank: references of pieces */
	uint64_t *leaving;      /* those that move away */
	uint64_t *coming;       /* those that move here */
	struct table_weight *tables;
	size_t n_tables;
	size_t tables_max;
	uint8_t *buf;                /* one cluster */
	struct packed_piece *pieces; /* in order of offset, then length */
	size_t n_pieces;
	size_t pieces_max; /* the list has room for */
	uint64_t n_fresh;  /* free clusters that they go to */
	uint64_t from;     /* pieces that reach this cluster are collected, */
	struct bitset chosen; /* that touch one of these, by rank, if it is
				 * not empty, */
	uint64_t low;         /* and do not begin before this offset */
	int (*each)(struct packed *p, uint64_t host_off, uint32_t len,
		    uint64_t refs, struct qcow2_error *err);
};

/* After packed_collect(), until clusters leave c->packed. Of many pieces it
 * looks at the first. */
VALIDATOR(packed);

/* packed_scan.c: finds all there is, from c->packed on; release in any case. */
int packed_scan(struct packed *p, struct compact *c, struct qcow2_error *err);
void packed_release(struct packed *p);
/* The pieces that may move, the last ones if there are too many. */
int packed_collect(struct packed *p, enum packed_aim aim,
		   struct qcow2_error *err);

uint64_t packed_rank(const struct packed *p, uint64_t cluster_idx);
/* The clusters that @host_off to its end touches: the last of them. */
uint64_t packed_last_cluster(const struct packed *p, uint64_t host_off,
			     uint32_t len);
const struct packed_piece *packed_piece(const struct packed *p,
					uint64_t host_off, uint32_t len);

/* packed_sparse.c: sets p->chosen to clusters that have large gaps and whose
 * data fits into the free clusters before them. */
int packed_choose_sparse(struct packed *p, struct qcow2_error *err);

/* packed_plan.c: sets `to` of pieces that fit and whose move helps; how many,
 * and how many clusters that empties.  Those leave c->packed. */
int packed_plan(struct packed *p, enum packed_aim aim, size_t *n_moves,
		uint64_t *n_emptied, struct qcow2_error *err);

static inline uint64_t packed_popcount(uint64_t word)
{
	return (uint64_t)__builtin_popcountll(word);
}

/* From a number of clusters to one of sectors. */
static inline uint32_t packed_shift(const struct packed *p)
{
	return p->c->img->geo.cluster_bits - PACKED_SECTOR_BITS;
}

#endif
