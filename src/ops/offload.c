#include "ops/offload.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "base/checked.h"
#include "store/store.h"

/* Each shared extent is work for the file system for as long as both files
 * live; below this a copy is cheaper. */
#define SHARE_BYTES_MIN (64 * 1024)

void offload_init(struct offload *o, struct disk *src,
		  struct qcow2_store *target, bool wanted)
{
	struct statfs fs;

	*o = (struct offload){ .src = src, .target_fd = store_fd(target) };
	if (!wanted || o->target_fd < 0 || fstatfs(o->target_fd, &fs) < 0)
		return;
	if (fs.f_bsize <= 0)
		return;
	o->block_bytes = (uint64_t)fs.f_bsize;
	o->usable = true;
}

uint64_t offload_share(struct offload *o, const struct qcow2_extent *extent)
{
	struct qcow2_store *store;
	struct file_clone_range range;
	uint64_t len = extent->len;

	if (!o->usable || len < SHARE_BYTES_MIN)
		return 0;
	len -= len % o->block_bytes;
	if (extent->off % o->block_bytes || extent->host_off % o->block_bytes)
		return 0;
	store = disk_extent_store(o->src, extent);
	if (!len || !store || store_fd(store) < 0)
		return 0;
	range = (struct file_clone_range){
		.src_fd = store_fd(store),
		.src_offset = extent->host_off,
		.src_length = len,
		.dest_offset = extent->off,
	};
	o->usable = ioctl(o->target_fd, FICLONERANGE, &range) == 0;
	return o->usable ? len : 0;
}
