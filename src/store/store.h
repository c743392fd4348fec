/*
 * The one way to touch host bytes: a checking wrapper over struct
 * qcow2_store_ops.
 *
 * Everything above this layer calls store_*(); only the implementations
 * (file.c, mem.c, and tests' record, fault, sched) see the operations.  The
 * wrapper checks the contract on both sides: ranges and flags are sane before a
 * call; an answer that breaks the contract is -EIO.  A write to a read-only
 * store is refused with -EBADF, an operation the store lacks with -ENOTSUP, and
 * an empty range succeeds without a call.  Messages carry the store's name.
 *
 * A store is reference counted and thread-safe; see qcow2.h for what each
 * operation means.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <qcow2.h>

#include "base/iov.h"

/* Makes a store named @name (copied; for messages and store_name()). */
int store_new(const struct qcow2_store_ops *ops, void *self, const char *name,
	      bool read_only, struct qcow2_store **out,
	      struct qcow2_error *err);

struct qcow2_store *store_ref(struct qcow2_store *s);
void store_unref(struct qcow2_store *s); /* NULL is fine */

/*
 * Fork.  A child shares locks and offsets with its parent, so in the child
 * every call but store_unref() fails with -ECHILD, and so does the caller.  The
 * last store_unref() there neither unlocks nor calls ops.close, which may do
 * anything; it calls the function set here, which gives back descriptors and
 * memory and leaves everything else alone.
 */
void store_set_abandon(struct qcow2_store *s, void (*abandon)(void *self));
bool store_is_here(const struct qcow2_store *s);
int store_check_here(const struct qcow2_store *s, struct qcow2_error *err);

static inline void store_unrefp(struct qcow2_store **s)
{
	store_unref(*s);
}

#define CLEANUP_STORE __attribute__((cleanup(store_unrefp)))

/* The path it was opened by, as given; lives as long as the store. */
const char *store_name(const struct qcow2_store *s);
bool store_is_read_only(const struct qcow2_store *s);
/* Before anything is written: -EROFS for a read-only store, -ENOTSUP for one
 * without an operation that every writer needs. */
int store_check_writable(const struct qcow2_store *s, struct qcow2_error *err);

/* The identity of a store, however often it is opened: of files, device and
 * inode.  To ask changes nothing, while store_fd() hands the descriptor out. */
struct store_identity {
	uint64_t device;
	uint64_t number;
};

/* False when the store cannot tell: then it is like no other. */
bool store_identity(struct qcow2_store *s, struct store_identity *id);
/* A power of two: other transfers are copied, or cost a read. */
uint32_t store_align(const struct qcow2_store *s);
/* One store, or two of one file. */
bool store_same_file(struct qcow2_store *a, struct qcow2_store *b);

static inline bool store_identity_equal(struct store_identity a,
					struct store_identity b)
{
	return a.device == b.device && a.number == b.number;
}

/* Requests since store_new(). */
void store_get_stats(const struct qcow2_store *s, struct qcow2_file_stats *out);

/* For implementations: the `self` of a store that was made with @ops, NULL for
 * a store of another kind. */
void *store_self(const struct qcow2_store *s,
		 const struct qcow2_store_ops *ops);

int store_pread(struct qcow2_store *s, void *buf, size_t len, uint64_t off,
		unsigned flags, struct qcow2_error *err);
int store_preadv(struct qcow2_store *s, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err);
/* The next @len bytes of @dst. */
int store_read_cursor(struct qcow2_store *s, struct iov_cursor *dst,
		      uint64_t len, uint64_t off, unsigned flags,
		      struct qcow2_error *err);
int store_pwrite(struct qcow2_store *s, const void *buf, size_t len,
		 uint64_t off, unsigned flags, struct qcow2_error *err);
int store_pwritev(struct qcow2_store *s, const struct iovec *iov, int iovcnt,
		  uint64_t off, unsigned flags, struct qcow2_error *err);
int store_flush(struct qcow2_store *s, struct qcow2_error *err);
/* Parts that the store cannot zero by itself are written as zeros up to the end
 * of the store, unless QCOW2_STORE_NO_FALLBACK asks for -ENOTSUP instead. */
int store_zero(struct qcow2_store *s, uint64_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err);
/* Makes the range read as zeros, with host space as the preallocation mode
 * wants it; without any (OFF, METADATA), space that is there is given back. */
int store_preallocate(struct qcow2_store *s, uint64_t len, uint64_t off,
		      enum qcow2_preallocation mode, struct qcow2_error *err);

/* The flags of a store's reads and writes for those of a guest's request. */
static inline unsigned store_nowait(unsigned flags)
{
	return flags & QCOW2_NOWAIT ? QCOW2_STORE_NOWAIT : 0;
}

/* The flags of store_zero() for those of a guest's request, QCOW2_ZERO_*. */
static inline unsigned store_zero_flags(unsigned flags)
{
	return (flags & QCOW2_ZERO_MAY_UNMAP ? QCOW2_STORE_UNMAP : 0) |
	       (flags & QCOW2_ZERO_NO_FALLBACK ? QCOW2_STORE_NO_FALLBACK : 0);
}

int store_truncate(struct qcow2_store *s, uint64_t size,
		   struct qcow2_error *err);
int store_size(struct qcow2_store *s, uint64_t *size, struct qcow2_error *err);
int store_allocated(struct qcow2_store *s, uint64_t *bytes,
		    struct qcow2_error *err);
/* *len is the wish going in (not 0) and the answer coming out (not 0). */
int store_extent(struct qcow2_store *s, uint64_t *len, uint64_t off,
		 bool *is_data, struct qcow2_error *err);
/* The operation alone: a user of a store must take a hold (store/hold.h). */
int store_lock(struct qcow2_store *s, enum qcow2_store_lock lock,
	       struct qcow2_error *err);
/* For copy offload, -1 if there is none.  Its holder may change the file behind
 * the store's back, so that every later flush is a barrier. */
int store_fd(struct qcow2_store *s);

#endif
