#include "format/bitmap.h"

#include "base/checked.h"

enum {
	BITMAP_OFF_TABLE_OFF = 0,
	BITMAP_OFF_TABLE_SIZE = 8,
	BITMAP_OFF_FLAGS = 12,
	BITMAP_OFF_TYPE = 16,
	BITMAP_OFF_GRANULARITY = 17,
	BITMAP_OFF_NAME_LEN = 18,
	BITMAP_OFF_EXTRA_LEN = 20,
};

#define TABLE_ENTRY_ONES (UINT64_C(1) << 0)
#define TABLE_ENTRY_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define TABLE_ENTRY_RESERVED_MASK UINT64_C(0xff000000000001fe)

enum defect bitmap_decode(struct bitmap *b, struct reader *r,
			  struct fault *fault)
{
	size_t left = reader_left(r);

	b->table_off = read_be64(r);
	b->table_size = read_be32(r);
	b->flags = read_be32(r);
	b->type = read_u8(r);
	b->granularity_bits = read_u8(r);
	b->name_len = read_be16(r);
	b->extra_len = read_be32(r);
	b->extra = read_bytes(r, b->extra_len);
	b->name = (const char *)read_bytes(r, b->name_len);
	read_bytes(r, (size_t)(-((uint64_t)b->extra_len + b->name_len) & 7));
	if (r->failed)
		return fault_set(fault, DEFECT_BITMAP_DIRECTORY, "length", 0,
				 left, 0);
	return DEFECT_NONE;
}

uint64_t bitmap_table_entries(const struct geometry *g, uint64_t disk_size,
			      unsigned granularity_bits)
{
	uint64_t bits =
		(disk_size >> granularity_bits) +
		((disk_size & ((UINT64_C(1) << granularity_bits) - 1)) != 0);
	uint64_t bits_per_cluster = (uint64_t)g->cluster_size * 8;

	return div_round_up(bits, bits_per_cluster);
}

static enum defect check_fields(const struct bitmap *b, struct fault *fault)
{
	if (b->flags & ~BITMAP_FLAGS_KNOWN)
		return fault_set(fault, DEFECT_BITMAP_ENTRY, "flags",
				 BITMAP_OFF_FLAGS, b->flags,
				 BITMAP_FLAGS_KNOWN);
	if (b->type != BITMAP_TYPE_DIRTY)
		return fault_set(fault, DEFECT_BITMAP_ENTRY, "type",
				 BITMAP_OFF_TYPE, b->type, BITMAP_TYPE_DIRTY);
	if (b->granularity_bits < BITMAP_GRANULARITY_BITS_MIN)
		return fault_set(fault, DEFECT_BITMAP_ENTRY, "granularity_bits",
				 BITMAP_OFF_GRANULARITY, b->granularity_bits,
				 BITMAP_GRANULARITY_BITS_MIN);
	if (b->granularity_bits > BITMAP_GRANULARITY_BITS_MAX)
		return fault_set(fault, DEFECT_BITMAP_ENTRY, "granularity_bits",
				 BITMAP_OFF_GRANULARITY, b->granularity_bits,
				 BITMAP_GRANULARITY_BITS_MAX);
	if (b->name_len == 0 || b->name_len > BITMAP_NAME_BYTES_MAX)
		return fault_set(fault, DEFECT_BITMAP_ENTRY, "name_size",
				 BITMAP_OFF_NAME_LEN, b->name_len,
				 BITMAP_NAME_BYTES_MAX);
	return DEFECT_NONE;
}

/* A bitmap in use may be of the disk as it was before a resize. */
static enum defect check_table_size(const struct geometry *g,
				    const struct bitmap *b, uint64_t disk_size,
				    struct fault *fault)
{
	uint64_t max = min_u64(BITMAP_TABLE_ENTRIES_MAX,
			       BITMAP_DATA_BYTES_MAX >> g->cluster_bits);
	uint64_t need = bitmap_table_entries(g, disk_size, b->granularity_bits);
	bool exact = b->table_size == need || (b->flags & BITMAP_FLAG_IN_USE);

	if (b->table_size == 0 || b->table_size > max)
		return fault_set(fault, DEFECT_BITMAP_TABLE,
				 "bitmap_table_size", BITMAP_OFF_TABLE_SIZE,
				 b->table_size, max);
	if (!exact)
		return fault_set(fault, DEFECT_BITMAP_TABLE,
				 "bitmap_table_size", BITMAP_OFF_TABLE_SIZE,
				 b->table_size, need);
	return DEFECT_NONE;
}

enum defect bitmap_validate(const struct geometry *g, const struct bitmap *b,
			    uint64_t disk_size, uint64_t file_size,
			    struct fault *fault)
{
	uint64_t bytes = (uint64_t)b->table_size * BITMAP_TABLE_ENTRY_BYTES;
	enum defect bad = check_fields(b, fault);

	if (!bad)
		bad = check_table_size(g, b, disk_size, fault);
	if (bad)
		return bad;
	if (!geometry_table_fits(g, b->table_off, bytes, file_size))
		return fault_set(fault, DEFECT_BITMAP_TABLE,
				 "bitmap_table_offset", BITMAP_OFF_TABLE_OFF,
				 b->table_off, file_size);
	return DEFECT_NONE;
}

void bitmap_encode(struct byte_writer *w, const struct bitmap *b)
{
	write_be64(w, b->table_off);
	write_be32(w, b->table_size);
	write_be32(w, b->flags);
	write_u8(w, b->type);
	write_u8(w, b->granularity_bits);
	write_be16(w, b->name_len);
	write_be32(w, b->extra_len);
	write_bytes(w, b->extra, b->extra_len);
	write_bytes(w, b->name, b->name_len);
	write_zeros(w, (size_t)(-((uint64_t)b->extra_len + b->name_len) & 7));
}

enum bitmap_cluster_kind bitmap_table_entry(const struct geometry *g,
					    uint64_t entry, uint64_t file_size,
					    uint64_t *host_off)
{
	uint64_t off = entry & TABLE_ENTRY_OFFSET_MASK;

	*host_off = off;
	if ((entry & TABLE_ENTRY_RESERVED_MASK) ||
	    !is_aligned(off, g->cluster_size))
		return BITMAP_CLUSTER_INVALID;
	if (off && (entry & TABLE_ENTRY_ONES))
		return BITMAP_CLUSTER_INVALID;
	if (off == 0)
		return entry & TABLE_ENTRY_ONES ? BITMAP_CLUSTER_ONES
						: BITMAP_CLUSTER_ZEROS;
	if (off >= file_size)
		return BITMAP_CLUSTER_INVALID;
	return BITMAP_CLUSTER_STORED;
}
