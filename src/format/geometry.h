/*
 * Values that follow from the header and never change while an image is open.
 */
#ifndef FORMAT_GEOMETRY_H
#define FORMAT_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "format/limits.h"

struct header;

struct geometry {
	uint32_t version;
	uint32_t cluster_bits;
	uint32_t cluster_size;
	uint32_t subcluster_bits; /* = cluster_bits without extended L2 */
	uint32_t subclusters;     /* per cluster: 1 or 32 */
	uint32_t l2_entry_bytes;  /* 8 or 16 */
	uint32_t l2_bits;         /* entries in an L2 table: 1 << l2_bits */
	uint32_t refcount_order;
	uint32_t refcount_bits;       /* 1 << refcount_order */
	uint32_t refcount_block_bits; /* refcounts in a block: 1 << this */
	uint32_t csize_shift;         /* compressed descriptor: size field */
	uint64_t csize_mask;
	uint64_t coffset_mask; /* compressed descriptor: offset field */
	uint64_t refcount_max;
	uint64_t l2_odd_mask; /* bits that plain L2 entries lack */
	bool extended_l2;
	bool has_data_file;
	bool data_file_raw;
};

/* From a header that header_decode() accepted. */
void geometry_init(struct geometry *g, const struct header *h);

/* The refcount order that counts to @refcount_max. */
static inline uint32_t geometry_refcount_order(uint64_t refcount_max)
{
	uint32_t order = 0;

	while (order < REFCOUNT_ORDER_MAX &&
	       refcount_max >> (UINT32_C(1) << order))
		order++;
	return order;
}

static inline uint64_t geometry_l2_entries(const struct geometry *g)
{
	return UINT64_C(1) << g->l2_bits;
}

static inline uint64_t geometry_l2_reach(const struct geometry *g)
{
	return UINT64_C(1) << (g->l2_bits + g->cluster_bits);
}

/* The largest virtual disk: as much as the largest L1 table reaches, 2^61 bytes
 * at most. */
static inline uint64_t geometry_size_max(uint32_t cluster_bits,
					 uint32_t l2_entry_bytes)
{
	uint64_t n_clusters = (UINT64_C(1) << cluster_bits) / l2_entry_bytes;

	return L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES *
	       (n_clusters << cluster_bits);
}

static inline uint64_t geometry_l1_index(const struct geometry *g,
					 uint64_t guest_off)
{
	return guest_off >> (g->l2_bits + g->cluster_bits);
}

static inline uint64_t geometry_l2_index(const struct geometry *g,
					 uint64_t guest_off)
{
	return (guest_off >> g->cluster_bits) & (geometry_l2_entries(g) - 1);
}

static inline uint32_t geometry_subcluster_index(const struct geometry *g,
						 uint64_t guest_off)
{
	return (uint32_t)(guest_off >> g->subcluster_bits) &
	       (g->subclusters - 1);
}

static inline uint64_t geometry_in_cluster(const struct geometry *g,
					   uint64_t off)
{
	return off & (g->cluster_size - UINT64_C(1));
}

static inline uint64_t geometry_clusters(const struct geometry *g,
					 uint64_t bytes)
{
	return (bytes >> g->cluster_bits) +
	       (geometry_in_cluster(g, bytes) != 0);
}

/* L1 entries needed for @size bytes of virtual disk (any uint64_t). */
uint64_t geometry_l1_entries(const struct geometry *g, uint64_t size);

/*
 * True where a table of @bytes may begin: at a cluster boundary behind the
 * header cluster, below 2^56, and so that it ends inside @file_size rounded up
 * to a cluster, since the last cluster of a file need not be complete.
 */
bool geometry_table_fits(const struct geometry *g, uint64_t off, uint64_t bytes,
			 uint64_t file_size);

#endif
