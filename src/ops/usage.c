#include "ops/usage.h"

#include <stdbool.h>

#include "chain/disk.h"

/* The total to which the bytes of an extent with @flags belong. */
static uint64_t *usage_part(struct qcow2_usage *u, uint32_t flags)
{
	if (!(flags & QCOW2_EXTENT_PRESENT))
		return &u->unallocated_bytes;
	if (flags & QCOW2_EXTENT_COMPRESSED)
		return &u->compressed_bytes;
	/* Data in a hole of the file has both flags. */
	return flags & QCOW2_EXTENT_ZERO ? &u->zero_bytes : &u->data_bytes;
}

/* True when QCOW2_MAP_MERGE makes one extent of both. */
static bool usage_merges(const struct qcow2_extent *a,
			 const struct qcow2_extent *b)
{
	return ((a->flags ^ b->flags) & ~QCOW2_EXTENT_HOST_OFF) == 0 &&
	       a->depth == b->depth;
}

int usage_count(struct disk *d, unsigned flags, struct qcow2_usage *out,
		struct qcow2_error *err)
{
	uint64_t size = disk_size(d);
	struct qcow2_extent last = { 0 };

	*out = (struct qcow2_usage){ .struct_size = sizeof(*out) };
	for (uint64_t off = 0; off < size; off += last.len) {
		struct qcow2_extent x;
		/* Merged extents would not tell which part has a place. */
		int rc = disk_map(d, size - off, off, flags & ~QCOW2_MAP_MERGE,
				  &x, err);

		if (rc < 0)
			return rc;
		*usage_part(out, x.flags) += x.len;
		if (x.flags & QCOW2_EXTENT_HOST_OFF)
			out->host_bytes += x.len;
		if (off == 0 || !(flags & QCOW2_MAP_MERGE) ||
		    !usage_merges(&last, &x))
			out->extents++;
		last = x;
	}
	return 0;
}
