/*
 * Space of the file store: zeroing, giving back, size, holes.
 *
 * Nothing here writes zeros by itself, except less than a block at the ends of
 * a range on a device; if the kernel cannot zero, the answer is -ENOTSUP and
 * the wrapper writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "store/file_impl.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO_RANGE (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

static int call_fallocate(struct file *f, int mode, uint64_t len, uint64_t off)
{
	int rc;

	do {
		rc = fallocate(f->fd, mode, (off_t)off, (off_t)len);
	} while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return 0;
	return errno == ENOSYS ? -ENOTSUP : -errno;
}

/* As above, but a file that said no once is not asked again. */
static int try_fallocate(struct file *f, int mode, atomic_int *can,
			 uint64_t len, uint64_t off)
{
	int rc;

	if (atomic_load_explicit(can, memory_order_relaxed) == FILE_CANNOT)
		return -ENOTSUP;
	rc = call_fallocate(f, mode, len, off);
	if (rc == 0 || rc == -ENOTSUP)
		atomic_store_explicit(can, rc ? FILE_CANNOT : FILE_CAN,
				      memory_order_relaxed);
	return rc;
}

static int file_space_punch(struct file *f, uint64_t len, uint64_t off)
{
	return try_fallocate(f, PUNCH, &f->can_punch, len, off);
}

static int zero_range(struct file *f, uint64_t len, uint64_t off)
{
	return try_fallocate(f, ZERO_RANGE, &f->can_zero_range, len, off);
}

static int zero_regular(struct file *f, uint64_t len, uint64_t off,
			unsigned flags)
{
	int rc = -ENOTSUP;

	if (flags & QCOW2_STORE_UNMAP)
		rc = file_space_punch(f, len, off);
	if (rc == -ENOTSUP)
		rc = zero_range(f, len, off);
	if (rc != -ENOTSUP || (flags & QCOW2_STORE_UNMAP))
		return rc;
	/* A hole reads as zeros too; the space is then reserved anew. */
	rc = file_space_punch(f, len, off);
	if (rc < 0)
		return rc;
	rc = call_fallocate(f, FALLOC_FL_KEEP_SIZE, len, off);
	return rc == -ENOTSUP ? 0 : rc;
}

/* Whole blocks of a device.  Punching is done by the device or not at all;
 * for a zero range the kernel may write, which still beats writing here. */
static int zero_blocks(struct file *f, uint64_t len, uint64_t off,
		       unsigned flags)
{
	int rc = -ENOTSUP;

	if (len == 0)
		return 0;
	if (flags & QCOW2_STORE_UNMAP)
		rc = file_space_punch(f, len, off);
	if (rc == -ENOTSUP && !(flags & QCOW2_STORE_NO_FALLBACK))
		rc = zero_range(f, len, off);
	return rc;
}

static int file_space_write_zeros(struct file *f, uint64_t len, uint64_t off)
{
	CLEANUP_FREE void *zeros = NULL;
	struct iovec iov;

	if (len == 0)
		return 0;
	zeros = alloc_zeroed(1, len);
	if (!zeros)
		return -ENOMEM;
	iov = (struct iovec){ .iov_base = zeros, .iov_len = (size_t)len };
	return file_pwritev(f, &iov, 1, off, 0, NULL);
}

/* Devices zero whole blocks; the ends that stick out are written. */
static int zero_device(struct file *f, uint64_t off, uint64_t end,
		       unsigned flags)
{
	uint64_t first = min_u64(align_up(off, f->align), end);
	uint64_t past = max_u64(align_down(end, f->align), first);
	int rc;

	{
		FILE_BLOCKS = file_blocks_share(f);
		rc = zero_blocks(f, past - first, first, flags);
	}
	if (rc == 0)
		rc = file_space_write_zeros(f, first - off, off);
	if (rc == 0)
		rc = file_space_write_zeros(f, end - past, past);
	return rc;
}

static int zero_any(struct file *f, uint64_t len, uint64_t off, unsigned flags)
{
	uint64_t size;
	uint64_t end;
	int rc;

	/* Punching leaves the size alone, so there is no need to know it. */
	if ((flags & QCOW2_STORE_UNMAP) && !f->is_device) {
		FILE_BLOCKS = file_blocks_share(f);

		rc = file_space_punch(f, len, off);
		if (rc != -ENOTSUP)
			return rc;
	}
	rc = file_size(f, &size, NULL);
	if (rc < 0)
		return rc;
	end = min_u64(off + len, size);
	if (off >= end)
		return 0;
	if (f->is_device)
		return zero_device(f, off, end, flags);
	FILE_BLOCKS = file_blocks_share(f);
	return zero_regular(f, end - off, off, flags);
}

int file_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_error *err)
{
	struct file *f = self;
	int rc;

	(void)err;
	/* fallocate() has no way to say that it would wait. */
	if ((flags & QCOW2_STORE_NOWAIT) && !f->is_ram)
		return -EAGAIN;
	rc = zero_any(f, len, off, flags);
	file_changed(f);
	return rc;
}

/* A device has the size it has: a smaller one fits, a larger one does not. */
static int check_device_size(struct file *f, uint64_t size)
{
	uint64_t have;
	int rc = file_size(f, &have, NULL);

	if (rc < 0)
		return rc;
	return size <= have ? 0 : -ENOSPC;
}

int file_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	struct file *f = self;
	int rc;

	(void)err;
	if (f->is_device)
		return check_device_size(f, size);
	FILE_BLOCKS = file_blocks_alone(f);
	if (size < atomic_load(&f->size_at_least))
		atomic_store(&f->size_at_least, size);
	do {
		rc = ftruncate(f->fd, (off_t)size);
	} while (rc < 0 && errno == EINTR);
	rc = rc < 0 ? -errno : 0;
	if (rc == 0)
		atomic_store(&f->size_at_least, size);
	file_changed(f);
	return rc;
}

/*
 * The file may change between the two questions; every answer that no longer
 * fits together becomes "data", which is always true enough to read it.
 */
int file_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
		struct qcow2_error *err)
{
	struct file *f = self;
	off_t data = lseek(f->fd, (off_t)off, SEEK_DATA);
	off_t hole;

	(void)err;
	*is_data = 1;
	if (data < 0 && errno == ENXIO) {
		*is_data = 0; /* nothing but a hole, or past the end */
		return 0;
	}
	if (data < 0)
		return errno == EINVAL ? -ENOTSUP : -errno;
	if ((uint64_t)data > off) {
		*is_data = 0;
		*len = min_u64(*len, (uint64_t)data - off);
		return 0;
	}
	hole = lseek(f->fd, (off_t)off, SEEK_HOLE);
	if (hole > (off_t)off)
		*len = min_u64(*len, (uint64_t)hole - off);
	return 0;
}
