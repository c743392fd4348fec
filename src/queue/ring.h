/*
 * A ring carries transfers: it takes them, moves the bytes, and hands back how
 * many have moved, in any order.  io_uring is one (uring.c); tests have others.
 *
 * The caller must make one call at a time.
 */
#ifndef QUEUE_RING_H
#define QUEUE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <qcow2.h>

struct ring_transfer {
	int fd; /* as transfer_begin() gave it */
	bool is_write;
	const struct iovec *iov; /* stays until the transfer is done */
	int iovcnt;
	uint64_t off;
	void *owner;
};

struct ring_done {
	void *owner;
	int res; /* bytes moved, perhaps not all, or -errno */
};

struct ring;

struct ring_ops {
	/* False when it is full. */
	bool (*add)(struct ring *r, const struct ring_transfer *t);
	/* Begins what was added.  0, or -errno when some of it waits for
	 * another call. */
	int (*submit)(struct ring *r);
	/* How many of at most @max that are done. */
	uint32_t (*reap)(struct ring *r, struct ring_done *out, uint32_t max);
	/* submit(), and waits until one is done or @timeout_ms have passed (-1:
	 * no limit).  0; -EINTR when a signal ended it. */
	int (*wait)(struct ring *r, int timeout_ms);
	/* See qcow2_queue_register(). */
	int (*register_memory)(struct ring *r, const struct iovec *iov,
			       int iovcnt, struct qcow2_error *err);
	/* Nothing is under way. */
	void (*free)(struct ring *r);
};

/* The first member of each kind of ring. */
struct ring {
	const struct ring_ops *ops;
};

struct ring_opts {
	uint32_t depth; /* transfers under way at most */
	bool sqpoll;
	uint32_t sqpoll_idle_ms;
	int event_fd; /* is written to when a transfer is done */
};

/* Whether the library was built with it. */
bool uring_is_there(void);
/* The kernel's.  -ENOTSUP when it was not built in, or the host forbids it. */
int uring_new(const struct ring_opts *opts, struct ring **out,
	      struct qcow2_error *err);

#endif
