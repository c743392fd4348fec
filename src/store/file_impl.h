/*
 * The parts of the file store, for its own files only.
 *
 *	file.c         open, identity, size, flush, close
 *	file_io.c      transfers, buffered and O_DIRECT when aligned
 *	file_direct.c  O_DIRECT for what is not aligned
 *	file_space.c   zeroing, punching, truncation, holes
 *	file_lock.c    locks against other programs
 *	file_carry.c   transfers that the kernel carries out
 */
#ifndef STORE_FILE_IMPL_H
#define STORE_FILE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <qcow2.h>

#include "base/validate.h"

/* Tells whether a kernel feature works on this file.  Learned once; two threads
 * that learn at the same time learn the same. */
enum file_ability {
	FILE_UNKNOWN = 0,
	FILE_CAN,
	FILE_CANNOT,
};

struct file {
	int fd;               /* above 2, owned */
	bool is_device;       /* a block device, else a regular file */
	bool is_direct;       /* O_DIRECT is set */
	bool no_flush;        /* durability is nobody's wish */
	bool is_ram;          /* the file system lives in memory */
	uint32_t align;       /* of memory, offset and length for O_DIRECT and
			      * for zeroing a device; a power of two */
	atomic_int can_punch; /* enum file_ability */
	atomic_int can_zero_range; /* enum file_ability */

	/* O_DIRECT only.  Held alone while a block is read, changed in part and
	 * written back, and while the size is set; shared by all other changes,
	 * which a block that is written back might otherwise undo.  Taken
	 * before no other lock. */
	pthread_rwlock_t blocks;

	/* One flush at a time, so that the error of a writeback, which the
	 * kernel tells only once, stops those that waited too. */
	pthread_mutex_t flush_lock;
	int flush_rc;       /* of the flush that failed, for ever after */
	uint64_t n_flushed; /* n_changes, all of which a flush has covered */

	/* Changes that have ended: when none has since the file was opened, or
	 * since the last flush, there is nothing to flush.  Changes that others
	 * left unflushed are not ours to make durable. */
	_Atomic uint64_t n_changes;
	_Atomic bool fd_is_out; /* others may change the file as well */
	/* The file is no shorter than this: carried writes reach no further
	 * with O_DIRECT.  Falls before the file is cut. */
	_Atomic uint64_t size_at_least;

	pthread_mutex_t lock_lock; /* guards `locked` */
	unsigned locked;           /* LOCK_* bits of file_lock.c */
};

/* The caller must hold flush_lock. */
VALIDATOR(file);

/* file_io.c.  The whole vector or an error; reads end in zeros. */
int file_preadv(void *self, const struct iovec *iov, int iovcnt, uint64_t off,
		unsigned flags, struct qcow2_error *err);
int file_pwritev(void *self, const struct iovec *iov, int iovcnt, uint64_t off,
		 unsigned flags, struct qcow2_error *err);

/* The same without looking at alignment and without the block lock. */
int file_read_plain(struct file *f, const struct iovec *iov, int iovcnt,
		    uint64_t off, unsigned flags);
int file_write_plain(struct file *f, const struct iovec *iov, int iovcnt,
		     uint64_t off, unsigned flags);

/* file_carry.c */
struct transfer_ops;
extern const struct transfer_ops file_transfer_ops;

/* file_direct.c */
bool file_is_aligned(const struct file *f, const struct iovec *iov, int iovcnt,
		     uint64_t off);
int file_direct_read(struct file *f, const struct iovec *iov, int iovcnt,
		     uint64_t off);
int file_direct_write(struct file *f, const struct iovec *iov, int iovcnt,
		      uint64_t off);

/* After every change, whether it failed or not. */
static inline void file_changed(struct file *f)
{
	atomic_fetch_add_explicit(&f->n_changes, 1, memory_order_release);
}

/* Holds f->blocks until the end of the scope; nothing without O_DIRECT. */
struct file *file_blocks_share(struct file *f);
struct file *file_blocks_alone(struct file *f);
void file_blocks_release(struct file **f);

#define FILE_BLOCKS \
	__attribute__((cleanup(file_blocks_release), unused)) struct file *held

/* file_space.c */
int file_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_error *err);
int file_truncate(void *self, uint64_t size, struct qcow2_error *err);
int file_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
		struct qcow2_error *err);

/* file_lock.c */
int file_lock(void *self, enum qcow2_store_lock lock, struct qcow2_error *err);

/* file.c */
int file_size(void *self, uint64_t *size, struct qcow2_error *err);

/* errno, and "NAME: cannot WHAT: ..." in @err. */
int file_fail(const char *name, const char *what, struct qcow2_error *err);

/* -EINVAL for anything but a regular file or a block device. */
int file_check_kind(const struct stat *st, const char *name,
		    struct qcow2_error *err);

#endif
