/*
 * A disk copied into another that is new and writable.
 */
#ifndef OPS_FILL_H
#define OPS_FILL_H

#include "chain/disk.h"

/*
 * Writes what @src reads as into @dst, which nobody else uses, has at least
 * the size of @src, and so far reads as @backing (NULL: as zeros).  The same
 * disks and options give the same bytes in the files of @dst whatever the
 * number of threads, but for the fast levels of compression.  Memory: two windows of at most 2 MiB for each thread.
 */
int ops_fill(struct disk *src, struct disk *dst, struct disk *backing,
	     const struct qcow2_convert_opts *opts, struct qcow2_error *err);

/*
 * The same into a disk that has contents, of any format.  @backing: the disk
 * below @dst, which lets parts of @src be left out; NULL: all of @src is
 * written.
 */
int ops_fill_existing(struct disk *src, struct disk *dst, struct disk *backing,
		      const struct qcow2_convert_opts *opts,
		      struct qcow2_error *err);

#endif
