/*
 * Open, close, read and map: argument checks, then the chain.
 */
#include "api/handle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "api/args.h"
#include "base/error.h"
#include "base/options.h"

#define DISCARD_KNOWN                                     \
	(QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_SNAPSHOT | \
	 QCOW2_DISCARD_OTHER | QCOW2_DISCARD_NO_UNREF)

#define OPEN_FLAGS_KNOWN                                                \
	(QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_BACKING | QCOW2_OPEN_NO_LOCK | \
	 QCOW2_OPEN_DIRECT | QCOW2_OPEN_METADATA_ONLY |                 \
	 QCOW2_OPEN_METADATA_CHAIN | QCOW2_OPEN_NO_REPAIR |             \
	 QCOW2_OPEN_NO_FLUSH | QCOW2_OPEN_TRUST_REFCOUNTS |             \
	 QCOW2_OPEN_NEED_LOCK)

#define SLICE_BYTES_MIN 512u
#define SLICE_BYTES_MAX 2097152u /* the largest cluster */

static int check_formats(const struct qcow2_open_opts *o,
			 struct qcow2_error *err)
{
	if (o->format > QCOW2_FORMAT_PROBE)
		return error_set(err, -EINVAL,
				 "format %" PRIu32 " does not exist",
				 o->format);
	if (o->backing_format > QCOW2_FORMAT_PROBE)
		return error_set(err, -EINVAL,
				 "backing_format %" PRIu32 " does not exist",
				 o->backing_format);
	return 0;
}

/* By itself; the cluster size of an image limits it further. */
static int check_slice(uint64_t bytes, struct qcow2_error *err)
{
	if (bytes == 0 ||
	    (bytes >= SLICE_BYTES_MIN && bytes <= SLICE_BYTES_MAX &&
	     (bytes & (bytes - 1)) == 0))
		return 0;
	return error_set(err, -EINVAL,
			 "l2_slice_bytes is %" PRIu64 ", must be a power of "
			 "two from %u to %u",
			 bytes, SLICE_BYTES_MIN, SLICE_BYTES_MAX);
}

static int check_policies(const struct qcow2_open_opts *o,
			  struct qcow2_error *err)
{
	if (o->discard & ~DISCARD_KNOWN)
		return error_set(err, -EINVAL,
				 "discard policy 0x%" PRIx32 " is not known",
				 o->discard);
	if (o->lazy_refcounts > QCOW2_LAZY_OFF)
		return error_set(err, -EINVAL,
				 "lazy_refcounts %" PRIu32 " is not known",
				 o->lazy_refcounts);
	if (o->overlap_check != QCOW2_OVERLAP_NONE &&
	    (o->overlap_check & ~QCOW2_OVERLAP_ALL))
		return error_set(err, -EINVAL,
				 "overlap checks 0x%" PRIx32 " are not known",
				 o->overlap_check);
	return check_slice(o->l2_slice_bytes, err);
}

static int check_open_opts(const struct qcow2_open_opts *o,
			   struct qcow2_error *err)
{
	if (o->flags & ~OPEN_FLAGS_KNOWN)
		return error_set(err, -EINVAL,
				 "open flags 0x%" PRIx32 " are not known",
				 o->flags & ~OPEN_FLAGS_KNOWN);
	if (o->reserved)
		return error_set(err, -EINVAL,
				 "qcow2_open_opts.reserved is not 0");
	if (!o->event_fn && o->event_free)
		return error_set(err, -EINVAL, "event_free goes with event_fn");
	if ((o->flags & QCOW2_OPEN_METADATA_CHAIN) &&
	    !(o->flags & QCOW2_OPEN_METADATA_ONLY))
		return error_set(err, -EINVAL,
				 "QCOW2_OPEN_METADATA_CHAIN needs "
				 "QCOW2_OPEN_METADATA_ONLY");
	if ((o->flags & QCOW2_OPEN_RDWR) &&
	    ((o->flags & QCOW2_OPEN_METADATA_ONLY) || o->snapshot))
		return error_set(err, -EINVAL,
				 "a snapshot's view and an image opened for "
				 "its metadata cannot be written to");
	if ((o->flags & QCOW2_OPEN_RDWR) && o->format == QCOW2_FORMAT_PROBE)
		return error_set(err, -EINVAL,
				 "the format of an image that is written to is "
				 "never guessed: name it");
	return check_formats(o, err);
}

int handle_take_opts(const struct qcow2_open_opts *opts, uint32_t flags,
		     struct qcow2_open_opts *own, struct qcow2_gate *gate,
		     struct qcow2_error *err)
{
	int rc = options_copy(own, sizeof(*own), opts, "qcow2_open_opts", err);

	own->flags |= flags;
	if (rc == 0)
		rc = check_open_opts(own, err);
	if (rc == 0)
		rc = check_policies(own, err);
	if (rc == 0)
		rc = args_check_budget(&own->budget, err);
	if (rc < 0 || !own->gate)
		return rc;
	rc = args_take_gate(gate, own->gate, err);
	own->gate = gate;
	return rc;
}

int qcow2_open_path(const char *path, const struct qcow2_open_opts *opts,
		    struct qcow2_image **out, struct qcow2_error *err)
{
	struct qcow2_open_opts own;
	struct qcow2_gate gate;
	struct disk *disk;
	int rc;

	if (!path || !out)
		return error_set(err, -EINVAL, "path and out must not be NULL");
	rc = handle_take_opts(opts, 0, &own, &gate, err);
	if (rc == 0)
		rc = disk_open_path(path, &own, &disk, err);
	return rc < 0 ? rc : handle_new(disk, out, err);
}

int qcow2_open_store(struct qcow2_store *store,
		     const struct qcow2_open_opts *opts,
		     struct qcow2_image **out, struct qcow2_error *err)
{
	struct qcow2_open_opts own;
	struct qcow2_gate gate;
	struct disk *disk;
	int rc;

	if (!store || !out)
		return error_set(err, -EINVAL,
				 "store and out must not be NULL");
	rc = handle_take_opts(opts, 0, &own, &gate, err);
	if (rc == 0)
		rc = disk_open_store(store, &own, &disk, err);
	return rc < 0 ? rc : handle_new(disk, out, err);
}

int qcow2_close(struct qcow2_image *img, struct qcow2_error *err)
{
	int rc;

	if (!img)
		return 0;
	rc = disk_close(img->disk, err);
	free(img);
	return rc;
}

uint64_t qcow2_size(const struct qcow2_image *img)
{
	return img ? disk_size(img->disk) : 0;
}

int qcow2_preadv(struct qcow2_image *img, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct api_request r;
	uint64_t len;
	int rc = handle_check_vector(iov, iovcnt, &len, err);

	if (rc == 0)
		rc = handle_check_range(img, len, off, err);
	if (rc < 0)
		return rc;
	if (flags & ~QCOW2_NOWAIT)
		return error_set(err, -EINVAL, "read flags 0x%x are not known",
				 flags & ~QCOW2_NOWAIT);
	r = handle_begin(REQUEST_READ, len, off);
	rc = disk_preadv(img->disk, iov, iovcnt, off, flags, err);
	return handle_end(img, &r, rc);
}

int qcow2_pread(struct qcow2_image *img, void *buf, size_t len, uint64_t off,
		unsigned flags, struct qcow2_error *err)
{
	struct iovec iov = { buf, len };

	return qcow2_preadv(img, &iov, 1, off, flags, err);
}

int qcow2_map(struct qcow2_image *img, uint64_t len, uint64_t off,
	      unsigned flags, struct qcow2_extent *out, struct qcow2_error *err)
{
	int rc = handle_check_range(img, len, off, err);

	if (rc < 0)
		return rc;
	if (!out)
		return error_set(err, -EINVAL, "out is NULL");
	if (len == 0)
		return error_set(err, -EINVAL, "an extent has no length 0");
	rc = handle_check_map(flags, err);
	return rc < 0 ? rc : disk_map(img->disk, len, off, flags, out, err);
}
