#include "format/refcount.h"

#include "base/bytes.h"
#include "base/checked.h"

uint64_t refcount_get(const uint8_t *block, uint64_t index, unsigned order)
{
	unsigned bits = 1u << order;
	unsigned per_byte = 8 >> order;
	const uint8_t *p;

	if (order < 3)
		return (block[index / per_byte] >> (index % per_byte * bits)) &
		       ((1u << bits) - 1);
	p = block + (index << (order - 3));
	switch (order) {
	case 3:
		return *p;
	case 4:
		return get_be16(p);
	case 5:
		return get_be32(p);
	default:
		return get_be64(p);
	}
}

void refcount_put(uint8_t *block, uint64_t index, unsigned order,
		  uint64_t value)
{
	unsigned bits = 1u << order;
	unsigned per_byte = 8 >> order;
	uint8_t *p;

	if (order < 3) {
		unsigned shift = (unsigned)(index % per_byte) * bits;
		unsigned mask = ((1u << bits) - 1) << shift;

		p = block + index / per_byte;
		*p = (uint8_t)((*p & ~mask) | ((unsigned)value << shift));
		return;
	}
	p = block + (index << (order - 3));
	switch (order) {
	case 3:
		*p = (uint8_t)value;
		break;
	case 4:
		put_be16(p, (uint16_t)value);
		break;
	case 5:
		put_be32(p, (uint32_t)value);
		break;
	default:
		put_be64(p, value);
	}
}

enum defect refcount_table_entry_defect(const struct geometry *g,
					uint64_t entry, uint64_t file_size)
{
	uint64_t off = refcount_block_off(entry);

	if (entry & ~REFCOUNT_TABLE_OFFSET_MASK)
		return DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED;
	if (!is_aligned(off, g->cluster_size))
		return DEFECT_REFCOUNT_TABLE_ENTRY_UNALIGNED;
	if (off && (off > HOST_OFF_MAX || off >= file_size))
		return DEFECT_REFCOUNT_BLOCK_BEYOND_EOF;
	return DEFECT_NONE;
}

enum defect refcount_table_entry_decode(const struct geometry *g,
					uint64_t entry, uint64_t file_size,
					uint64_t *block_off)
{
	enum defect bad = refcount_table_entry_defect(g, entry, file_size);

	*block_off = bad ? 0 : refcount_block_off(entry);
	return bad;
}
