/*
 * Sharing blocks between source and target instead of copying them: if both lie
 * on one file system that can (XFS, btrfs, bcachefs, NFS 4.2, ...), a gigabyte
 * takes no time and no space.
 *
 * copy_file_range() is not used.  Within a file system that cannot share it
 * copies through the page cache just as read and write do, measured no faster
 * on tmpfs and ext4, and it cannot leave out the zeros, so the target would
 * grow.
 */
#ifndef OPS_OFFLOAD_H
#define OPS_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "chain/disk.h"

/* Each shared extent is work for the file system for as long as both files
 * live; below this a copy is cheaper. */
#define OFFLOAD_BYTES_MIN (64 * 1024)

struct offload {
	struct disk *src;
	int target_fd;
	uint64_t block_bytes; /* of the target's file system */
	bool usable;          /* false for ever after the first refusal */
};

void offload_init(struct offload *o, struct disk *src,
		  struct qcow2_store *target, bool wanted);

/* Shares the beginning of @extent with the target, which is to have it at the
 * same guest offset.  Returns for how many bytes that was done, 0 if it cannot
 * be: copying is always right, and reports what is wrong. */
uint64_t offload_share(struct offload *o, const struct qcow2_extent *extent);

/* Whether blocks of @source can be shared with @target, which is ours alone: it
 * is tried behind its end.  Offsets and lengths must be multiples of
 * *block_bytes. */
bool offload_works(struct qcow2_store *source, struct qcow2_store *target,
		   uint64_t *block_bytes);

/* Shares [from, from+len) of @source with @target at @to; false when that was
 * refused. */
bool offload_clone(struct qcow2_store *source, uint64_t from, uint64_t len,
		   struct qcow2_store *target, uint64_t to);

#endif
