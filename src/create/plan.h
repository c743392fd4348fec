/*
 * The plan of a new image, decided completely before the first byte is written.
 *
 * All that a new image contains follows from the options: the tables are
 * arithmetic sequences, so nothing but a bounded buffer is ever in memory.
 *
 *	header | refcount table | refcount blocks | L1 | L2 tables | data
 *
 * L2 tables and data clusters exist only when preallocated; with an external
 * data file the data lies in that file.
 */
#ifndef CREATE_PLAN_H
#define CREATE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "format/limits.h"

/* A header with both names at their limits and all extensions ends before
 * this, and clusters that are smaller set their own end. */
#define CREATE_HEADER_BYTES_MAX 4096

struct create_layout {
	uint32_t cluster_bits;
	uint32_t refcount_order;
	uint32_t l2_entry_bytes;
	uint64_t n_refcount_table_clusters;
	uint64_t n_refcount_blocks;
	uint64_t n_l1_entries;
	uint64_t n_l2_tables;  /* 0 without preallocation */
	uint64_t n_l2_entries; /* mapped guest clusters, likewise */
	uint64_t n_clusters;   /* of the whole file */
	uint64_t refcount_table_off;
	uint64_t refcount_blocks_off;
	uint64_t l1_off; /* 0 when the disk is empty, as its L1 table */
	uint64_t l2_off;
	uint64_t data_off; /* of the first mapped cluster, in the file
				  * that holds guest data */
};

struct create_plan {
	/* The caller's options with every default filled in, the size rounded
	 * to sectors, and preallocation METADATA where the format needs it. */
	struct qcow2_create_opts opts;
	struct create_layout layout;
};

static inline uint64_t create_file_bytes(const struct create_layout *l)
{
	return l->n_clusters << l->cluster_bits;
}

/* Checks the options and makes the plan; see create_check_opts(). */
int create_plan_make(struct create_plan *plan,
		     const struct qcow2_create_opts *opts,
		     struct qcow2_error *err);

/* Places every table; @opts: those of a plan.  -EFBIG where a limit of the
 * format is in the way. */
int create_layout_solve(struct create_layout *l,
			const struct qcow2_create_opts *opts,
			struct qcow2_error *err);

/*
 * Encodes the header, its extensions and the backing file name into @buf.
 * Returns the bytes used, or 0 when they exceed @len or the first cluster.
 */
size_t create_header_encode(const struct create_plan *plan, uint8_t *buf,
			    size_t len);

/* Writes all tables into @file, which reads as zeros. */
int create_tables_write(struct qcow2_store *file, const struct create_layout *l,
			struct qcow2_error *err);

/*
 * Empties @store and makes it @size bytes long; a block device, or whatever
 * else cannot be resized, must be as large already.  An image header at the
 * beginning is gone, durably, before this returns.  *zeroed: all of it reads as
 * zeros now.
 */
int create_space_empty(struct qcow2_store *store, uint64_t size, bool *zeroed,
		       struct qcow2_error *err);

/* Makes the @size bytes read as zeros, unless they are @zeroed, with host space
 * as the preallocation mode wants it. */
int create_space_fill(struct qcow2_store *store, uint64_t size, bool zeroed,
		      enum qcow2_preallocation mode, struct qcow2_error *err);

#endif
