#include "ops/offload.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "base/checked.h"
#include "store/store.h"

static bool clone_range(int from_fd, uint64_t from, uint64_t len, int to_fd,
			uint64_t to)
{
	struct file_clone_range range = {
		.src_fd = from_fd,
		.src_offset = from,
		.src_length = len,
		.dest_offset = to,
	};

	return ioctl(to_fd, FICLONERANGE, &range) == 0;
}

/* 0 when it cannot be known. */
static uint64_t block_size(int fd)
{
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_bsize <= 0)
		return 0;
	return (uint64_t)fs.f_bsize;
}

void offload_init(struct offload *o, struct disk *src,
		  struct qcow2_store *target, bool wanted)
{
	*o = (struct offload){ .src = src, .target_fd = store_fd(target) };
	if (!wanted)
		return;
	o->block_bytes = block_size(o->target_fd);
	o->usable = o->block_bytes != 0;
}

uint64_t offload_share(struct offload *o, const struct qcow2_extent *extent)
{
	struct qcow2_store *store;
	uint64_t len = extent->len;

	if (!o->usable || len < OFFLOAD_BYTES_MIN)
		return 0;
	len -= len % o->block_bytes;
	if (extent->off % o->block_bytes || extent->host_off % o->block_bytes)
		return 0;
	store = disk_extent_store(o->src, extent);
	if (!len || !store || store_fd(store) < 0)
		return 0;
	o->usable = clone_range(store_fd(store), extent->host_off, len,
				o->target_fd, extent->off);
	return o->usable ? len : 0;
}

bool offload_clone(struct qcow2_store *source, uint64_t from, uint64_t len,
		   struct qcow2_store *target, uint64_t to)
{
	return clone_range(store_fd(source), from, len, store_fd(target), to);
}

bool offload_works(struct qcow2_store *source, struct qcow2_store *target,
		   uint64_t *block_bytes)
{
	uint64_t block = block_size(store_fd(target));
	uint64_t size, from_size;
	bool works;

	*block_bytes = block;
	if (!block || store_fd(source) < 0 ||
	    store_size(source, &from_size, NULL) < 0 || from_size < block ||
	    store_size(target, &size, NULL) < 0)
		return false;
	works = offload_clone(source, 0, block, target, align_up(size, block));
	if (works)
		works = store_truncate(target, size, NULL) == 0;
	return works;
}
