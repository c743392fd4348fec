#include "ops/room.h"

#include "ops/extents.h"

uint64_t room_for_data(void *disk)
{
	uint64_t n_bytes = 0;
	uint64_t pos = 0;
	struct extents extents;

	extents_init(&extents, disk, UINT64_MAX);
	while (pos < extents.size) {
		struct qcow2_extent extent;

		if (extents_at(&extents, pos, &extent, NULL) < 0)
			return UINT64_MAX;
		if (!(extent.flags & QCOW2_EXTENT_ZERO))
			n_bytes += extent.len;
		pos += extent.len;
	}
	return n_bytes;
}
