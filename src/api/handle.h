/*
 * The public handle.
 */
#ifndef API_HANDLE_H
#define API_HANDLE_H

#include <qcow2.h>

#include "chain/disk.h"
#include "chain/requests.h"

enum request_kind {
	REQUEST_READ,
	REQUEST_WRITE,
	REQUEST_ZERO,
	REQUEST_DISCARD,
	REQUEST_WRITE_COMPRESSED,
	REQUEST_FLUSH,
	REQUEST_KINDS,
};

struct qcow2_image {
	struct disk *disk;
	struct requests requests[REQUEST_KINDS];
};

/* A request of a caller's that is under way. */
struct api_request {
	enum request_kind kind;
	uint64_t len;
	uint64_t off;
	uint64_t began_ns;
};

struct api_request handle_begin(enum request_kind kind, uint64_t len,
				uint64_t off);
/* Counts it; returns @rc. */
int handle_end(struct qcow2_image *img, const struct api_request *r, int rc);

/* The flags of calls that change guest bytes, and of zeroing. */
#define CHANGE_FLAGS (QCOW2_NOWAIT | QCOW2_FUA)
#define ZERO_FLAGS \
	(CHANGE_FLAGS | QCOW2_ZERO_MAY_UNMAP | QCOW2_ZERO_NO_FALLBACK)

/* Makes the handle of an opened disk, or closes the disk. */
int handle_new(struct disk *disk, struct qcow2_image **out,
	       struct qcow2_error *err);

/* The caller's options in their current size, checked as if they had @flags
 * too; @gate is storage for the copy of the gate, which @own then points to. */
int handle_take_opts(const struct qcow2_open_opts *opts, uint32_t flags,
		     struct qcow2_open_opts *own, struct qcow2_gate *gate,
		     struct qcow2_error *err);

/* Every function that takes an image begins with this: -EINVAL when it is NULL,
 * -ECHILD in a child of the process that opened it. */
int handle_check(const struct qcow2_image *img, struct qcow2_error *err);

/* The same, and -EINVAL unless [off, off+len) lies inside the disk. */
int handle_check_range(const struct qcow2_image *img, uint64_t len,
		       uint64_t off, struct qcow2_error *err);

/* -EINVAL for what is not QCOW2_MAP_*. */
int handle_check_map(unsigned flags, struct qcow2_error *err);

/* The length of a vector; -EINVAL when it cannot be one. */
int handle_check_vector(const struct iovec *iov, int iovcnt, uint64_t *len,
			struct qcow2_error *err);

#endif
