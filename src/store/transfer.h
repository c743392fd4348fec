/*
 * Transfers that somebody else carries out: the kernel, on the descriptor of a
 * file store (io_uring).
 *
 * The store says whether a transfer can be made so, and with which descriptor;
 * afterwards it is told that a write has ended, so that the next flush covers
 * it.  Neither call waits.  Everything in between is the carrier's business:
 * the whole range moves, bytes past the end of the file read as zeros.
 *
 * The caller must see to it that no write through the store overlaps a carried
 * one, or a block of the store's alignment that it touches, and that the file
 * is not made shorter meanwhile.
 */
#ifndef STORE_TRANSFER_H
#define STORE_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <qcow2.h>

struct transfer {
	struct qcow2_store *store;
	uint64_t off;
	uint64_t len; /* not 0 */
	bool is_write;
};

/* The operations of stores that have a descriptor for it. */
struct transfer_ops {
	/* The descriptor, or -1 when only the store itself can do this. */
	int (*begin)(void *self, const struct iovec *iov, int iovcnt,
		     const struct transfer *t);
	/* After every write that begin() gave a descriptor for. */
	void (*end_write)(void *self);
};

void store_set_transfer_ops(struct qcow2_store *s,
			    const struct transfer_ops *ops);

/* The descriptor with which to carry the vector, whose length is t->len; -1
 * when the caller must use store_preadv() or store_pwritev(). */
int transfer_begin(const struct transfer *t, const struct iovec *iov,
		   int iovcnt);

/* After a transfer that began, with its result @rc, 0 or -errno, which is
 * returned; a failure is described in @err. */
int transfer_end(const struct transfer *t, int rc, struct qcow2_error *err);

#endif
