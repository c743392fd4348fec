/*
 * Transfers of the file store.
 *
 * NOWAIT is best effort in one direction only: it may say -EAGAIN where no
 * wait was needed, never wait where it need not.  Files in memory do not wait.
 * O_DIRECT always waits for the device.  Elsewhere the kernel decides, and
 * where the file system cannot tell, the answer is -EAGAIN.
 */
#include <errno.h>
#include <sys/uio.h>

#include "base/checked.h"
#include "base/iov.h"
#include "store/file_impl.h"

#define BATCH 64 /* segments per system call */

typedef ssize_t transfer_fn(int fd, const struct iovec *iov, int iovcnt,
			    off_t off, int flags);

/* One system call's worth, EINTR left behind.  Bytes done or -errno. */
static ssize_t transfer_once(struct file *f, transfer_fn *fn,
			     const struct iovec *iov, int n, uint64_t off,
			     unsigned flags)
{
	int rwf = flags & QCOW2_STORE_NOWAIT && !f->is_ram ? RWF_NOWAIT : 0;
	ssize_t done;

	do {
		done = fn(f->fd, iov, n, (off_t)off, rwf);
	} while (done < 0 && errno == EINTR);
	if (done >= 0)
		return done;
	if (rwf && (errno == EOPNOTSUPP || errno == ENOSYS))
		return -EAGAIN;
	return -errno;
}

/* Goes on until the vector is done, an error, or a transfer of nothing.
 * *done counts what was transferred, also on failure. */
static int transfer_all(struct file *f, transfer_fn *fn, struct iov_cursor *c,
			uint64_t len, uint64_t off, unsigned flags,
			uint64_t *done)
{
	struct iovec batch[BATCH];

	*done = 0;
	while (*done < len) {
		struct iov_cursor ahead = *c;
		ssize_t n;
		int cnt;

		iov_take(&ahead, len - *done, batch, BATCH, &cnt);
		n = transfer_once(f, fn, batch, cnt, off + *done, flags);
		if (n < 0)
			return (int)n;
		iov_skip(c, (uint64_t)n);
		*done += (uint64_t)n;
		/* O_DIRECT stops between blocks only at the end of the file,
		 * where going on would be refused as misaligned. */
		if (n == 0 || (f->is_direct && !is_aligned(*done, f->align)))
			return 0;
	}
	return 0;
}

int file_read_plain(struct file *f, const struct iovec *iov, int iovcnt,
		    uint64_t off, unsigned flags)
{
	struct iov_cursor c = iov_cursor_init(iov, iovcnt);
	uint64_t len = iov_len(iov, iovcnt);
	uint64_t done;
	int rc = transfer_all(f, preadv2, &c, len, off, flags, &done);

	if (rc < 0)
		return rc;
	iov_zero(&c, len - done);
	return 0;
}

int file_write_plain(struct file *f, const struct iovec *iov, int iovcnt,
		     uint64_t off, unsigned flags)
{
	struct iov_cursor c = iov_cursor_init(iov, iovcnt);
	uint64_t len = iov_len(iov, iovcnt);
	uint64_t done;
	int rc = transfer_all(f, pwritev2, &c, len, off, flags, &done);

	if (rc < 0)
		return rc;
	return done < len ? -EIO : 0;
}

/* O_DIRECT has no page cache to be served from. */
static bool must_wait(const struct file *f, unsigned flags)
{
	return (flags & QCOW2_STORE_NOWAIT) && f->is_direct && !f->is_ram;
}

int file_preadv(void *self, const struct iovec *iov, int iovcnt, uint64_t off,
		unsigned flags, struct qcow2_error *err)
{
	struct file *f = self;

	(void)err;
	if (must_wait(f, flags))
		return -EAGAIN;
	if (f->is_direct && !file_is_aligned(f, iov, iovcnt, off))
		return file_direct_read(f, iov, iovcnt, off);
	return file_read_plain(f, iov, iovcnt, off, flags);
}

static int write_any(struct file *f, const struct iovec *iov, int iovcnt,
		     uint64_t off, unsigned flags)
{
	if (f->is_direct && !file_is_aligned(f, iov, iovcnt, off)) {
		FILE_BLOCKS = file_blocks_alone(f);

		return file_direct_write(f, iov, iovcnt, off);
	}
	FILE_BLOCKS = file_blocks_share(f);
	return file_write_plain(f, iov, iovcnt, off, flags);
}

int file_pwritev(void *self, const struct iovec *iov, int iovcnt, uint64_t off,
		 unsigned flags, struct qcow2_error *err)
{
	struct file *f = self;
	int rc;

	(void)err;
	if (must_wait(f, flags))
		return -EAGAIN;
	rc = write_any(f, iov, iovcnt, off, flags);
	file_changed(f);
	return rc;
}
