/*
 * L1 and L2 entries (specification: "Cluster mapping").
 */
#ifndef FORMAT_L2_H
#define FORMAT_L2_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/zero.h"
#include "format/defect.h"
#include "format/geometry.h"

#define ENTRY_COPIED (UINT64_C(1) << 63)
#define L2_COMPRESSED (UINT64_C(1) << 62)
#define L2_ZERO (UINT64_C(1) << 0)
#define ENTRY_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define L1_RESERVED_MASK UINT64_C(0x7f000000000001ff)
/* Bit 0 is the zero flag in normal entries and reserved in extended ones. */
#define L2_RESERVED_MASK UINT64_C(0x3f000000000001fe)
/* Those of them that would lift the offset above HOST_OFF_MAX. */
#define L2_HIGH_OFFSET_MASK UINT64_C(0x3f00000000000000)
/* Offset and size of a compressed cluster: the descriptor without its flags. */
#define L2_COMPRESSED_MASK UINT64_C(0x3fffffffffffffff)

#define SUB_ALLOC(i) (UINT64_C(1) << (i))
#define SUB_ZERO(i) (UINT64_C(1) << ((i) + 32))
/* Subclusters @from to @to - 1; 0 <= @from <= @to <= 32. */
#define SUB_ALLOC_RANGE(from, to) (SUB_ALLOC(to) - SUB_ALLOC(from))
#define SUB_ZERO_RANGE(from, to) (SUB_ALLOC_RANGE(from, to) << 32)
#define SUB_ALL_ALLOC UINT64_C(0x00000000ffffffff)
#define SUB_ALL_ZERO UINT64_C(0xffffffff00000000)

struct l2_entry {
	uint64_t desc;
	uint64_t bitmap; /* 0 without extended L2 */
};

enum cluster_kind {
	CLUSTER_UNALLOCATED,
	CLUSTER_ZERO_PLAIN,
	CLUSTER_ZERO_ALLOC,
	CLUSTER_NORMAL,
	CLUSTER_COMPRESSED,
	CLUSTER_INVALID,
};

enum subcluster_kind {
	SUBCLUSTER_UNALLOCATED_PLAIN, /* look in the backing file */
	SUBCLUSTER_UNALLOCATED_ALLOC, /* the same, host space is reserved */
	SUBCLUSTER_ZERO_PLAIN,
	SUBCLUSTER_ZERO_ALLOC, /* zero, host space is reserved */
	SUBCLUSTER_NORMAL,
	SUBCLUSTER_COMPRESSED,
	SUBCLUSTER_INVALID,
};

/* Entry @index of a table or slice in its on-disk form. */
static inline struct l2_entry l2_get(const struct geometry *g,
				     const uint8_t *table, uint64_t index)
{
	const uint8_t *p = table + index * g->l2_entry_bytes;

	return (struct l2_entry){
		.desc = get_be64(p),
		.bitmap = g->extended_l2 ? get_be64(p + 8) : 0,
	};
}

static inline void l2_put(const struct geometry *g, uint8_t *table,
			  uint64_t index, struct l2_entry e)
{
	uint8_t *p = table + index * g->l2_entry_bytes;

	put_be64(p, e.desc);
	if (g->extended_l2)
		put_be64(p + 8, e.bitmap);
}

/* The first entry of [index, n) in which a bit is set; @n if there is none. */
static inline uint64_t l2_next_used(const struct geometry *g,
				    const uint8_t *table, uint64_t index,
				    uint64_t n)
{
	uint64_t at = index * g->l2_entry_bytes;
	uint64_t len = n * g->l2_entry_bytes - at;

	return (at + zero_prefix(table + at, (size_t)len)) / g->l2_entry_bytes;
}

static inline uint64_t l1_table_off(uint64_t l1_entry)
{
	return l1_entry & ENTRY_OFFSET_MASK;
}

static inline uint64_t l2_host_off(struct l2_entry e)
{
	return e.desc & ENTRY_OFFSET_MASK;
}

/* The rule an L1 entry breaks, or DEFECT_NONE: alignment, reserved bits,
 * table inside @file_size. */
enum defect l1_entry_defect(const struct geometry *g, uint64_t entry,
			    uint64_t file_size);

/*
 * The rule an L2 entry breaks by itself, or DEFECT_NONE.  Reserved bits are a
 * defect here (check reports them) but do not make an entry unreadable: see
 * l2_entry_unreadable().  @data_size: size of the file that holds guest data
 * (data file or image); @file_size: of the image.  @guest_off matters for
 * external data files only, which map every cluster to its own offset.
 */
enum defect l2_entry_defect(const struct geometry *g, struct l2_entry e,
			    uint64_t guest_off, uint64_t file_size,
			    uint64_t data_size);

/* For l2_entry_unreadable(), which has the common case inline. */
enum defect l2_odd_entry_unreadable(const struct geometry *g, struct l2_entry e,
				    uint64_t guest_off, uint64_t file_size,
				    uint64_t data_size);

/*
 * The defect that makes reading through the entry impossible, or DEFECT_NONE:
 * unaligned offset, offset bits 56 to 61, zero flag in version 2, subcluster
 * conflicts, compressed descriptors that reach past the end of the image by a
 * cluster or more or lie in a data file, data to be read that begins at the
 * end of file or behind it, offsets that differ from the guest's in an
 * external data file.
 */
static inline enum defect
l2_entry_unreadable(const struct geometry *g, struct l2_entry e,
		    uint64_t guest_off, uint64_t file_size, uint64_t data_size)
{
	bool odd = (e.desc & g->l2_odd_mask) || e.bitmap;

	if (!odd && l2_host_off(e) < data_size)
		return DEFECT_NONE;
	return l2_odd_entry_unreadable(g, e, guest_off, file_size, data_size);
}

enum cluster_kind l2_cluster_kind(const struct geometry *g, struct l2_entry e);

/* @sub: 0 to g->subclusters - 1. */
enum subcluster_kind l2_subcluster_kind(const struct geometry *g,
					struct l2_entry e, unsigned sub);

/* How many subclusters from @sub on have the same kind, at least 1; the kind
 * in *kind. */
unsigned l2_subcluster_run(const struct geometry *g, struct l2_entry e,
			   unsigned sub, enum subcluster_kind *kind);

/* A compressed cluster descriptor: where its bytes are. */
struct compressed {
	uint64_t host_off; /* any byte */
	uint32_t len;      /* to the end of its last 512-byte sector */
};

struct compressed compressed_decode(const struct geometry *g, uint64_t desc);

/* The descriptor for @len bytes of data at @host_off, with L2_COMPRESSED set.
 * False when one of the fields cannot hold it. */
bool compressed_encode(const struct geometry *g, uint64_t host_off,
		       uint32_t len, uint64_t *desc);

#endif
