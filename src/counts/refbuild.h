/*
 * A complete new set of refcount structures, of any width, written where
 * nothing is in use: it replaces a damaged set, or one of another width.
 *
 * Table and blocks lie together and count themselves.  Nothing refers to them
 * when refbuild_write() returns; they are durable, so that the caller can
 * switch to them with one sector of the header.
 */
#ifndef COUNTS_REFBUILD_H
#define COUNTS_REFBUILD_H

#include <stdint.h>

#include <qcow2.h>

#include "format/geometry.h"

/* Clusters that are asked for at once. */
#define REFBUILD_PIECE_CLUSTERS 512u

/*
 * The source of the refcounts.  Both functions are called with ascending
 * cluster indices, twice over, and must give the same answers each time.
 */
struct refbuild_source {
	void *opaque;
	/* The first cluster from @idx on whose refcount is not 0, or one before
	 * it; UINT64_MAX when there is none. */
	int (*next)(void *opaque, uint64_t idx, uint64_t *found,
		    struct qcow2_error *err);
	/* The refcounts of @n clusters from @idx on, at most
	 * REFBUILD_PIECE_CLUSTERS. */
	int (*get)(void *opaque, uint64_t idx, uint32_t n, uint64_t *values,
		   struct qcow2_error *err);
};

/* The values for the header, and the offset of the next free byte. */
struct refbuild {
	uint64_t table_off;
	uint32_t table_clusters;
	uint64_t n_blocks;
	uint64_t end_off;
};

/*
 * Writes the structures from @start_off on, a multiple of the cluster size
 * behind everything that is in use, and makes them durable.  @geo: with the
 * refcount width that they are to have.  @source is not asked about clusters
 * from @start_off on.  Costs the blocks that have a refcount which is not 0,
 * and at most 8 MiB for the table and some hundred KiB, or two clusters, of
 * memory.
 *
 * Returns -ERANGE for a refcount that the width cannot hold, -EFBIG if the
 * table would exceed its limit or the file 2^56 bytes, or the store's error.
 * In every case, nothing below @start_off was changed.
 */
int refbuild_write(struct qcow2_store *file, const struct geometry *geo,
		   const struct refbuild_source *source, uint64_t start_off,
		   struct refbuild *out, struct qcow2_error *err);

#endif
