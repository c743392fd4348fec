/*
 * The state of an image that is open for writing.
 */
#ifndef WRITE_WRITER_H
#define WRITE_WRITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/iov.h"
#include "base/validate.h"
#include "commit/commit.h"
#include "commit/grace.h"
#include "compress/encode.h"
#include "counts/refcounts.h"
#include "write/alloc.h"
#include "write/guard.h"
#include "write/inflight.h"
#include "write/pack.h"
#include "write/proof.h"

struct image;

#define REFCOUNT_CACHE_BYTES_DEFAULT (4 * MIB)

/* The reader of the bytes that an image does not have: the backing chain, which
 * the layer above knows.  Without `read` they are all zeros. */
struct below {
	int (*read)(void *opaque, struct iov_cursor *dst, uint64_t len,
		    uint64_t off, struct qcow2_error *err);
	void *opaque;
	uint64_t size;
	/* True for bytes that are known to be zeros without reading them. */
	bool (*reads_zero)(void *opaque, uint64_t len, uint64_t off);
};

/* Tells which freed clusters give their space back to the host. */
struct discard_policy {
	bool request;  /* guest discards and unmapping zeroes */
	bool snapshot; /* snapshot deletion */
	bool other;    /* everything else, such as rewritten clusters */
	bool no_unref; /* keep discarded clusters allocated */
};

struct writer {
	struct refcounts refs;
	struct grace grace;
	struct commit commit;
	struct alloc alloc;
	struct pack pack;
	struct encoder_pool encoders;
	struct inflight inflight;
	struct guard guard;
	struct proof proof;
	struct below below;
	struct discard_policy policy;
	_Atomic uint64_t copied_bytes; /* around what the guest wrote */
	_Atomic uint64_t size_seen;    /* of the disk, while it grows: the size
					* that callers know; else 0 */
	bool keep_tail; /* close leaves the file as long as it is;
				     * the image is idle when this changes */
	/* One snapshot operation at a time; held during I/O, taken before
	 * writers are kept out. */
	pthread_mutex_t snapshot_lock;
	/* One new L2 table at a time; held during I/O, taken before every
	 * lock of counts/, commit/ and alloc.lock. */
	pthread_mutex_t table_lock;
	/* Under the image's header_lock. */
	bool header_unsettled;      /* the disk may have another first sector */
	unsigned dirty_reasons;     /* enum dirty_reason: why the bit is set */
	_Atomic bool bitmaps_valid; /* no guest data has changed; read without
				     * the lock */
};

/* All of it: the caller must have the image to himself. */
VALIDATOR(writer);
/* And whether it agrees with its image. */
void writer_idle_validate(const struct image *img);

/* Makes an open image writable: clears autoclear bits that this version cannot
 * keep true, refuses images that are corrupt. */
int writer_open(struct image *img, const struct qcow2_open_opts *opts,
		struct qcow2_error *err);

/*
 * Writes what is left, gives back what was claimed ahead, cuts the free end of
 * the file off.  The image must be idle.  Returns the first error; the image
 * can only be read afterwards, whatever is returned.  Does nothing for an image
 * that has no writer.  In a child of the process that opened it nothing is
 * written, and the writer's memory stays.
 */
int writer_close(struct image *img, struct qcow2_error *err);

/* Adds what only the writer knows, if there is one. */
void writer_get_info(const struct image *img, struct qcow2_info *out);
void writer_get_stats(const struct image *img, struct qcow2_stats *out);

int image_pwritev(struct image *img, const struct iovec *iov, int iovcnt,
		  uint64_t off, unsigned flags, struct qcow2_error *err);
int image_zero(struct image *img, uint64_t len, uint64_t off, unsigned flags,
	       struct qcow2_error *err);
int image_discard(struct image *img, uint64_t len, uint64_t off, unsigned flags,
		  struct qcow2_error *err);
/* Whole clusters, or up to the end of the disk. */
int image_write_compressed(struct image *img, const void *buf, uint64_t len,
			   uint64_t off, struct qcow2_error *err);

/* Encodes a cluster at @src into @dst, which has room for one; *n is 0 when it
 * does not become smaller.  Thread-safe. */
int image_encode(struct image *img, void *dst, const void *src, size_t *n,
		 struct qcow2_error *err);
/* For what is encoded from now on: 0 for the codec's usual level.  *old is the
 * level until now, unless @old is NULL. */
int image_set_level(struct image *img, uint32_t level, uint32_t *old,
		    struct qcow2_error *err);

/* One cluster that the caller has encoded (@len bytes at @bytes; 0: it did not
 * become smaller) from @cluster. */
int image_write_encoded(struct image *img, const void *bytes, size_t len,
			const void *cluster, uint64_t off,
			struct qcow2_error *err);
int image_flush(struct image *img, struct qcow2_error *err);
/* See qcow2_recover(). */
int image_recover(struct image *img, struct qcow2_error *err);

/* For callers that have the image for themselves: nothing is claimed ahead,
 * nothing open, nothing dirty, nothing waiting. */
int image_drain(struct image *img, struct qcow2_error *err);

/* Nor does the dirty bit stand for any refcount: the file has all of them. */
int image_settle(struct image *img, struct qcow2_error *err);

/* A request that reads, for the grace period of what it looks up; does nothing
 * in an image that nobody writes. */
struct grace_ref writer_grace_begin(struct image *img);
void writer_grace_end(struct grace_ref ref);

#endif
