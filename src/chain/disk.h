/*
 * One virtual disk: an image and everything below it, read as one.
 *
 * A disk is a list of layers from the top down.  Each is a qcow2 image (with
 * an external data file, perhaps) or a raw file.  Data that a layer does not
 * have is read from the next; past the end of a layer, and below the last, are
 * zeros.
 *
 * Threads: all functions but disk_open and disk_close may run concurrently.
 */
#ifndef CHAIN_DISK_H
#define CHAIN_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <qcow2.h>

struct disk;
struct store_hold;

int disk_open_path(const char *path, const struct qcow2_open_opts *opts,
		   struct disk **out, struct qcow2_error *err);
int disk_open_store(struct qcow2_store *file,
		    const struct qcow2_open_opts *opts, struct disk **out,
		    struct qcow2_error *err);
/*
 * An image that the caller has just made, in stores that it holds for writing.
 * The disk, which is to be open for writing, holds them no second time; it asks
 * the gate for its backing file, and not for the data file.
 */
struct disk_made {
	struct qcow2_store *file;
	struct qcow2_store *data; /* NULL: inside the image */
	const char *path;         /* of the image; NULL: it has none */
};

int disk_open_made(const struct disk_made *made,
		   const struct qcow2_open_opts *opts, struct disk **out,
		   struct qcow2_error *err);
/* The disk gives the holds of its files back when it is closed.  Takes both
 * over; @data: that of the data file, or nothing. */
void disk_take_holds(struct disk *d, struct store_hold *file,
		     struct store_hold *data);

/* Returns the first error of the last writes; the disk is gone all the same. */
int disk_close(struct disk *d, struct qcow2_error *err);

/* The same for a disk that its opener does not get: who listens to it stays the
 * opener's.  NULL is fine. */
void disk_abandon(struct disk *d);

/* -ECHILD in a child of the process that opened the disk. */
int disk_check_here(const struct disk *d, struct qcow2_error *err);

uint64_t disk_size(const struct disk *d);
uint32_t disk_layer_count(const struct disk *d);

/* Reads [off, off + the vector's length), which lies inside the disk.
 * flags: QCOW2_NOWAIT. */
int disk_preadv(struct disk *d, const struct iovec *iov, int iovcnt,
		uint64_t off, unsigned flags, struct qcow2_error *err);
int disk_pread(struct disk *d, void *buf, size_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err);

/* Changes of the top layer, which must have been opened for writing (-EBADF);
 * see qcow2_pwritev() and the functions behind it. */
int disk_pwritev(struct disk *d, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err);
int disk_zero(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_error *err);
int disk_discard(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
		 struct qcow2_error *err);
int disk_write_compressed(struct disk *d, const void *buf, uint64_t len,
			  uint64_t off, unsigned flags,
			  struct qcow2_error *err);
int disk_flush(struct disk *d, struct qcow2_error *err);
int disk_recover(struct disk *d, struct qcow2_error *err);
/* Makes the disk larger while others use it; else it is alone on the disk, as
 * the next two are; see qcow2_resize(). */
int disk_resize(struct disk *d, uint64_t size,
		const struct qcow2_resize_opts *opts, struct qcow2_error *err);
int disk_compact(struct disk *d, const struct qcow2_compact_opts *opts,
		 struct qcow2_compact_result *result, struct qcow2_error *err);
int disk_amend(struct disk *d, const struct qcow2_amend_opts *opts,
	       struct qcow2_error *err);

/* Internal snapshots of the top layer; see qcow2_snapshot_create() and the
 * functions behind it.  -ENOTSUP for a raw layer. */
int disk_snapshot_create(struct disk *d, const char *name,
			 const struct qcow2_snapshot_opts *opts,
			 struct qcow2_error *err);
int disk_snapshot_apply(struct disk *d, const char *id_or_name,
			struct qcow2_error *err);
int disk_snapshot_delete(struct disk *d, const char *id_or_name,
			 struct qcow2_error *err);
int disk_vmstate_write(struct disk *d, const void *buf, size_t len,
		       uint64_t off, struct qcow2_error *err);
int disk_vmstate_read(struct disk *d, void *buf, size_t len, uint64_t off,
		      struct qcow2_error *err);

/* disk_write_compressed() of one cluster in two steps, the first of which many
 * threads can take at once.  *n is how many bytes at @dst (which has room for
 * a cluster) became of the cluster @src; 0 when it cannot be made smaller.  The
 * same cluster always gives the same bytes. */
int disk_encode(struct disk *d, void *dst, const void *src, size_t *n,
		struct qcow2_error *err);
int disk_write_encoded(struct disk *d, const void *bytes, size_t n,
		       const void *cluster, uint64_t off,
		       struct qcow2_error *err);

/*
 * Filling a disk that is new and writable, that gives places (a raw one does
 * not) and that nobody else uses: places are asked for by one thread at a time,
 * then written to by any.  A disk for which a place was given and not written
 * is worth nothing.
 *
 * disk_place(): where the first *here of @len bytes at @off go; *here is 0
 * where only disk_pwritev() will do.  disk_place_encoded(): the same for a
 * cluster that became @len bytes; *host_off is 0 where only
 * disk_write_encoded() will do.
 */
bool disk_gives_places(const struct disk *d);
int disk_place(struct disk *d, uint64_t len, uint64_t off, uint64_t *here,
	       uint64_t *host_off, struct qcow2_error *err);
int disk_place_encoded(struct disk *d, size_t len, uint64_t off,
		       uint64_t *host_off, struct qcow2_error *err);
int disk_write_placed(struct disk *d, const struct iovec *iov, int iovcnt,
		      uint64_t host_off, struct qcow2_error *err);
/* The store that host_off counts in. */
struct qcow2_store *disk_place_store(struct disk *d);

/* For what is encoded from now on: 0 for the codec's usual level.  *old is the
 * level until now, unless @old is NULL. */
int disk_set_level(struct disk *d, uint32_t level, uint32_t *old,
		   struct qcow2_error *err);

/* @d, opened for writing with QCOW2_OPEN_NO_BACKING, reads what it does not
 * have from @below, which is open as long as @d, when it fills clusters up. */
void disk_set_below(struct disk *d, struct disk *below);

/* The layer of @d that is the file at the top of @other; UINT32_MAX if none. */
uint32_t disk_find(const struct disk *d, const struct disk *other);

/* Whether @file is one that @d reads from: a layer of it, or a data file. */
bool disk_reads(const struct disk *d, struct qcow2_store *file);
/* Whether @d reads from what a write to @written changes. */
bool disk_reads_top(const struct disk *d, const struct disk *written);

/* The maximal extent that begins at @off and is at most @len bytes (not 0);
 * see qcow2_map().  flags: QCOW2_MAP_*. */
int disk_map(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
	     struct qcow2_extent *out, struct qcow2_error *err);

/* How much at @off, at most @len bytes (not 0), is the same in both disks, or
 * may differ; see qcow2_diff().  Fills all of *out but struct_size. */
int disk_diff(struct disk *older, struct disk *newer, uint64_t len,
	      uint64_t off, struct qcow2_diff_extent *out,
	      struct qcow2_error *err);

/*
 * Returns the store that has the bytes of a data extent without compression and
 * encryption, for copy offload at extent.host_off.  NULL when they cannot be
 * copied as they are.  Borrowed from the disk.
 */
struct qcow2_store *disk_extent_store(struct disk *d,
				      const struct qcow2_extent *extent);

/* The guest cluster size of the top layer (65536 for raw): the unit in which
 * jobs do well to split their work. */
uint32_t disk_cluster_size(const struct disk *d);

/* See qcow2_set_event_fn() and qcow2_set_write_threshold(). */
int disk_set_event_fn(struct disk *d, qcow2_event_fn *fn, void *opaque,
		      void (*free_opaque)(void *opaque),
		      struct qcow2_error *err);
int disk_set_write_threshold(struct disk *d, uint64_t host_off,
			     struct qcow2_error *err);

/* Paths as opened; NULL when there is no such layer (data file). */
const char *disk_layer_filename(const struct disk *d, uint32_t depth);
const char *disk_layer_data_filename(const struct disk *d, uint32_t depth);

/* Fills all of *out but struct_size; -EINVAL when there is no such layer. */
int disk_get_info(struct disk *d, uint32_t depth, struct qcow2_info *out,
		  struct qcow2_error *err);
/* Fills what layer @depth has done below; the requests are the caller's. */
int disk_get_stats(struct disk *d, uint32_t depth, struct qcow2_stats *out,
		   struct qcow2_error *err);

/* Fills all of *out but struct_size, for the top layer. */
void disk_get_limits(const struct disk *d, struct qcow2_limits *out);

/* The same for what only a qcow2 top layer has.  Names live as long as the
 * disk, those of a snapshot until it is deleted.  -EINVAL: no such index;
 * disk_get_luks() gives -ENOENT where there is no LUKS header. */
int disk_get_snapshot(struct disk *d, uint32_t index,
		      struct qcow2_snapshot_info *out, struct qcow2_error *err);
int disk_get_bitmap(struct disk *d, uint32_t index,
		    struct qcow2_bitmap_info *out, struct qcow2_error *err);
int disk_get_luks(struct disk *d, struct qcow2_luks_info *out,
		  struct qcow2_error *err);

/* The name that the image has for a bit of a feature field; NULL: none. */
const char *disk_get_feature_name(const struct disk *d, unsigned type,
				  unsigned bit);

#endif
