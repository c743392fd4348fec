/*
 * One qcow2 image, read: the word of its own file (and external data file) on
 * each guest byte.  The chain above looks in the backing file for data that an
 * image does not have; this layer never opens anything.
 *
 * Each part of struct image has one owner, the file of the same name, and
 * functions take the part they need.  After image_open() (and
 * image_attach_data()) everything here is immutable except the caches, which
 * lock for themselves, the list of snapshots (list_lock), and of a disk that
 * grows its size and its L1 table, which are atomic; so all functions may run
 * concurrently.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <qcow2.h>

#include "base/iov.h"
#include "base/validate.h"
#include "format/geometry.h"
#include "format/header.h"
#include "image/bitmaps.h"
#include "image/budget.h"
#include "image/compressed.h"
#include "image/holes.h"
#include "image/luks.h"
#include "image/map.h"
#include "image/names.h"
#include "image/sizes.h"
#include "image/snapshots.h"

struct writer;

struct image {
	struct qcow2_store *file;
	struct qcow2_store *data; /* == file without external data file; NULL
				     * until it is attached */
	struct geometry geo;
	struct header header; /* tail points into names.cluster0 */
	pthread_mutex_t
		header_lock; /* the header in memory and its fixed part on
				     * disk; a leaf, held during the write of
				     * one sector */
	/* Of the snapshot in a snapshot's view.  It changes only while writers
	 * are kept out: it is the same as long as a range is in flight.  While
	 * the disk grows it is the new one already, of which callers do not
	 * know yet. */
	_Atomic uint64_t virtual_size;
	bool encrypted;
	struct image_sizes sizes;
	bool metadata_only;
	uint32_t lacks; /* QCOW2_LACKS_* */
	struct metadata_budget budget;
	struct names names;
	struct map map;
	struct compressed_reader compressed;
	struct snapshots snapshots;
	pthread_mutex_t list_lock; /* held when the list of snapshots is
				     * replaced, and by readers while an
				     * operation on snapshots may be running */
	struct bitmaps bitmaps;
	struct luks luks;
	struct holes holes;
	struct writer *writer; /* NULL: read-only */
};

/* The caller must have the image to himself. */
VALIDATOR(image);

/*
 * Opens the image in @file (takes its own reference).  Uses from @opts: flags,
 * snapshot, budget, cache sizes; never NULL.  With an external data file the
 * image is complete only after image_attach_data().
 */
int image_open(struct qcow2_store *file, const struct qcow2_open_opts *opts,
	       struct image **out, struct qcow2_error *err);
/* If it is open for writing, the caller must call writer_close() first.  NULL
 * is fine.  In a child of the process that opened it the image's memory
 * stays. */
void image_close(struct image *img);

/* The snapshots that there are now, in table order, while others are made and
 * deleted.  The names in *@out live until that snapshot is deleted; a copy owns
 * its names, and snapshots_release() takes it.  -EINVAL: no such index.  If the
 * table cannot be read, both return the reason. */
int image_get_snapshot(struct image *img, uint32_t index,
		       struct snapshot_info *out, struct qcow2_error *err);
int image_copy_snapshots(struct image *img, struct snapshots *out,
			 struct qcow2_error *err);

/* Gives the image the data file it names; takes its own reference. */
int image_attach_data(struct image *img, struct qcow2_store *data,
		      struct qcow2_error *err);

/* The highest possible end of the image file, and of the file with the guest's
 * data: no entry can point beyond it. */
uint64_t image_file_end(const struct image *img);
uint64_t image_data_end(const struct image *img);

static inline bool image_is_encrypted(const struct image *img)
{
	return img->encrypted;
}

/* The kind and place of a run of guest bytes. */
struct image_extent {
	enum subcluster_kind kind;
	uint64_t len;
	uint64_t host_off; /* NORMAL, ZERO_ALLOC, UNALLOCATED_ALLOC: in data */
	uint64_t desc;     /* COMPRESSED: the descriptor, one cluster */
};

/*
 * The longest run of one kind from @guest_off on, at most @len bytes (not 0):
 * host offsets contiguous, compressed clusters one at a time.  Damage at the
 * first byte is -EIO; damage later ends the run.  flags: QCOW2_NOWAIT.  The
 * caller must be in a grace period if the image has a writer.
 */
int image_map(struct image *img, uint64_t len, uint64_t guest_off,
	      unsigned flags, struct image_extent *out,
	      struct qcow2_error *err);

/* Asked before image_map() is called for all of the disk: see
 * map_allow_walk(); in a grace period too. */
int image_allow_walk(struct image *img, struct qcow2_error *err);

/* Reads the first @len bytes of an extent that has NORMAL, ZERO_* or
 * COMPRESSED kind into the vector; @guest_off is where it was mapped. */
int image_read(struct image *img, struct iov_cursor *dst, uint64_t len,
	       uint64_t guest_off, const struct image_extent *extent,
	       unsigned flags, struct qcow2_error *err);

/* Shortens NORMAL extents to where the host file changes between data and
 * hole, if this image was preallocated; *hole says which it is. */
int image_split_holes(struct image *img, struct image_extent *extent,
		      bool *hole, struct qcow2_error *err);

/* By the header in memory; waits while that is being written. */
bool image_is_marked_corrupt(struct image *img);

void image_get_info(struct image *img, struct qcow2_info *out);
/* Fills what reading counts. */
void image_get_stats(const struct image *img, struct qcow2_stats *out);

#endif
