#include "format/l2.h"

#include "base/checked.h"

enum defect l1_entry_defect(const struct geometry *g, uint64_t entry,
			    uint64_t file_size)
{
	uint64_t off = l1_table_off(entry);

	if (!is_aligned(off, g->cluster_size))
		return DEFECT_L1_ENTRY_UNALIGNED;
	if (off && off >= file_size)
		return DEFECT_L1_ENTRY_BEYOND_EOF;
	if (entry & L1_RESERVED_MASK)
		return DEFECT_L1_ENTRY_RESERVED;
	return DEFECT_NONE;
}

struct compressed compressed_decode(const struct geometry *g, uint64_t desc)
{
	uint64_t sectors = ((desc >> g->csize_shift) & g->csize_mask) + 1;
	struct compressed c = { .host_off = desc & g->coffset_mask };

	c.len = (uint32_t)(sectors * COMPRESSED_SECTOR_BYTES -
			   (c.host_off & ~COMPRESSED_SECTOR_MASK));
	return c;
}

bool compressed_encode(const struct geometry *g, uint64_t host_off,
		       uint32_t len, uint64_t *desc)
{
	uint64_t first = host_off / COMPRESSED_SECTOR_BYTES;
	uint64_t extra;

	if (len == 0 || host_off > g->coffset_mask || host_off > HOST_OFF_MAX)
		return false;
	extra = (host_off + len - 1) / COMPRESSED_SECTOR_BYTES - first;
	if (extra > g->csize_mask)
		return false;
	*desc = L2_COMPRESSED | extra << g->csize_shift | host_off;
	return true;
}

/* The number of sectors does not matter: those that the file does not have read
 * as zeros, and decoding ends before them. */
static enum defect compressed_unreadable(const struct geometry *g,
					 uint64_t desc, uint64_t file_size)
{
	struct compressed c = compressed_decode(g, desc);

	if (g->has_data_file)
		return DEFECT_L2_ENTRY_COMPRESSED_DATA_FILE;
	if (c.host_off > HOST_OFF_MAX || c.host_off < g->cluster_size)
		return DEFECT_COMPRESSED_OFFSET;
	if (c.host_off >= file_size)
		return DEFECT_COMPRESSED_BEYOND_EOF;
	return DEFECT_NONE;
}

/* Sectors are counted whole, so the last ones may lie past the end of the
 * file. */
static enum defect compressed_defect(const struct geometry *g,
				     struct l2_entry e, uint64_t file_size)
{
	struct compressed c = compressed_decode(g, e.desc);
	uint64_t room = file_size - c.host_off;

	if (c.len > room && c.len - room >= g->cluster_size)
		return DEFECT_COMPRESSED_BEYOND_EOF;
	return e.bitmap ? DEFECT_L2_BITMAP_COMPRESSED : DEFECT_NONE;
}

/*
 * Offset 0 is a place for data only in an external data file, where COPIED,
 * which all its clusters have, tells it from no offset.  A zero flag without
 * offset stays without.
 */
static bool has_host_cluster(const struct geometry *g, struct l2_entry e)
{
	bool zero = !g->extended_l2 && (e.desc & L2_ZERO);

	if (l2_host_off(e))
		return true;
	return g->has_data_file && (e.desc & ENTRY_COPIED) && !zero;
}

static bool has_data(const struct geometry *g, struct l2_entry e)
{
	if (g->extended_l2)
		return e.bitmap & SUB_ALL_ALLOC;
	return has_host_cluster(g, e) && !(e.desc & L2_ZERO);
}

static enum defect bitmap_unreadable(const struct geometry *g,
				     struct l2_entry e)
{
	if ((e.bitmap >> 32) & e.bitmap)
		return DEFECT_L2_BITMAP_CONFLICT;
	if (!has_host_cluster(g, e) && (e.bitmap & SUB_ALL_ALLOC))
		return DEFECT_L2_BITMAP_WITHOUT_OFFSET;
	return DEFECT_NONE;
}

enum defect l2_odd_entry_unreadable(const struct geometry *g, struct l2_entry e,
				    uint64_t guest_off, uint64_t file_size,
				    uint64_t data_size)
{
	uint64_t off = l2_host_off(e);
	enum defect bad = DEFECT_NONE;

	if (e.desc & L2_COMPRESSED)
		return compressed_unreadable(g, e.desc, file_size);
	if (!is_aligned(off, g->cluster_size))
		return DEFECT_L2_ENTRY_UNALIGNED;
	if (!g->extended_l2 && (e.desc & L2_ZERO) && g->version < 3)
		return DEFECT_L2_ENTRY_ZERO_V2;
	if (g->extended_l2)
		bad = bitmap_unreadable(g, e);
	if (bad)
		return bad;
	if (g->has_data_file && has_host_cluster(g, e) &&
	    off != align_down(guest_off, g->cluster_size))
		return DEFECT_L2_ENTRY_DATA_FILE_OFFSET;
	if (has_data(g, e) && off >= data_size)
		return DEFECT_L2_ENTRY_BEYOND_EOF;
	if (e.desc & L2_HIGH_OFFSET_MASK)
		return DEFECT_L2_ENTRY_RESERVED;
	return DEFECT_NONE;
}

static enum defect standard_entry_defect(const struct geometry *g,
					 struct l2_entry e, uint64_t data_size)
{
	uint64_t reserved = L2_RESERVED_MASK | (g->extended_l2 ? L2_ZERO : 0);

	if (has_host_cluster(g, e) && l2_host_off(e) >= data_size)
		return DEFECT_L2_ENTRY_BEYOND_EOF;
	if (e.desc & reserved)
		return DEFECT_L2_ENTRY_RESERVED;
	if ((e.desc & ENTRY_COPIED) && !l2_host_off(e) && !g->has_data_file)
		return DEFECT_L2_ENTRY_COPIED_WITHOUT_OFFSET;
	return DEFECT_NONE;
}

enum defect l2_entry_defect(const struct geometry *g, struct l2_entry e,
			    uint64_t guest_off, uint64_t file_size,
			    uint64_t data_size)
{
	enum defect bad =
		l2_entry_unreadable(g, e, guest_off, file_size, data_size);

	if (bad)
		return bad;
	if (!(e.desc & L2_COMPRESSED))
		return standard_entry_defect(g, e, data_size);
	return compressed_defect(g, e, file_size);
}

enum cluster_kind l2_cluster_kind(const struct geometry *g, struct l2_entry e)
{
	if (e.desc & L2_COMPRESSED)
		return CLUSTER_COMPRESSED;
	if (!is_aligned(l2_host_off(e), g->cluster_size))
		return CLUSTER_INVALID;
	if (!g->extended_l2 && (e.desc & L2_ZERO)) {
		if (g->version < 3)
			return CLUSTER_INVALID;
		return has_host_cluster(g, e) ? CLUSTER_ZERO_ALLOC
					      : CLUSTER_ZERO_PLAIN;
	}
	return has_host_cluster(g, e) ? CLUSTER_NORMAL : CLUSTER_UNALLOCATED;
}

static enum subcluster_kind whole_kind(enum cluster_kind kind)
{
	switch (kind) {
	case CLUSTER_UNALLOCATED:
		return SUBCLUSTER_UNALLOCATED_PLAIN;
	case CLUSTER_ZERO_PLAIN:
		return SUBCLUSTER_ZERO_PLAIN;
	case CLUSTER_ZERO_ALLOC:
		return SUBCLUSTER_ZERO_ALLOC;
	case CLUSTER_NORMAL:
		return SUBCLUSTER_NORMAL;
	case CLUSTER_COMPRESSED:
		return SUBCLUSTER_COMPRESSED;
	case CLUSTER_INVALID:
		break;
	}
	return SUBCLUSTER_INVALID;
}

static enum subcluster_kind bit_kind(bool allocated, bool alloc_bit,
				     bool zero_bit)
{
	if (zero_bit)
		return allocated ? SUBCLUSTER_ZERO_ALLOC
				 : SUBCLUSTER_ZERO_PLAIN;
	if (alloc_bit)
		return SUBCLUSTER_NORMAL;
	return allocated ? SUBCLUSTER_UNALLOCATED_ALLOC
			 : SUBCLUSTER_UNALLOCATED_PLAIN;
}

unsigned l2_subcluster_run(const struct geometry *g, struct l2_entry e,
			   unsigned sub, enum subcluster_kind *kind)
{
	enum cluster_kind cluster = l2_cluster_kind(g, e);
	uint32_t alloc = (uint32_t)e.bitmap;
	uint32_t zero = (uint32_t)(e.bitmap >> 32);
	uint32_t differ;

	*kind = whole_kind(cluster);
	if (!g->extended_l2 || cluster == CLUSTER_COMPRESSED ||
	    cluster == CLUSTER_INVALID)
		return g->subclusters - sub;
	if ((alloc & zero) || (cluster == CLUSTER_UNALLOCATED && alloc)) {
		*kind = SUBCLUSTER_INVALID;
		return g->subclusters - sub;
	}
	*kind = bit_kind(cluster == CLUSTER_NORMAL, alloc >> sub & 1,
			 zero >> sub & 1);
	/* Subclusters from @sub on in which one of the two bits differs. */
	differ = (alloc >> sub & 1 ? ~alloc : alloc) |
		 (zero >> sub & 1 ? ~zero : zero);
	differ >>= sub;
	if (differ == 0)
		return SUBCLUSTERS_PER_CLUSTER - sub;
	return (unsigned)__builtin_ctz(differ);
}

enum subcluster_kind l2_subcluster_kind(const struct geometry *g,
					struct l2_entry e, unsigned sub)
{
	enum subcluster_kind kind;

	l2_subcluster_run(g, e, sub, &kind);
	return kind;
}
