/*
 * The file store: opening, identity, size, flush and close.
 */
#include "store/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "store/file_impl.h"
#include "store/store.h"
#include "store/transfer.h"

#define DEFAULT_ALIGN 4096
#define SECTOR_BYTES 512
#define FIRST_FREE_FD 3 /* 0 to 2 are what stray prints and reads go to */

#define NAME(name) TEXT(name, strlen(name))

int file_fail(const char *name, const char *what, struct qcow2_error *err)
{
	int rc = -errno;

	return error_set(err, rc, "%s: cannot %s: %s",
			 *name ? NAME(name) : "\"\"", what, error_words(-rc));
}

int file_check_kind(const struct stat *st, const char *name,
		    struct qcow2_error *err)
{
	const char *kind = "a special file";

	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	if (S_ISDIR(st->st_mode))
		kind = "a directory";
	else if (S_ISFIFO(st->st_mode))
		kind = "a pipe";
	else if (S_ISSOCK(st->st_mode))
		kind = "a socket";
	else if (S_ISCHR(st->st_mode))
		kind = "a character device";
	return error_set(err, -EINVAL,
			 "%s: is %s, not a regular file or block device",
			 NAME(name), kind);
}

void file_validate(const struct file *f)
{
	assert(f->fd > STDERR_FILENO);
	assert(f->align && (f->align & (f->align - 1)) == 0);
	/* A flush has covered only changes that were made before it. */
	assert(f->n_flushed <= atomic_load(&f->n_changes));
	assert(f->flush_rc <= 0);
	assert((unsigned)atomic_load(&f->can_punch) <= FILE_CANNOT);
	assert((unsigned)atomic_load(&f->can_zero_range) <= FILE_CANNOT);
}

static int file_flush(void *self, struct qcow2_error *err)
{
	struct file *f = self;
	SCOPED_LOCK(&f->flush_lock);
	uint64_t n_changes =
		atomic_load_explicit(&f->n_changes, memory_order_acquire);

	(void)err;
	/* It costs nothing beside a flush. */
	file_validate(f);
	if (f->no_flush)
		return 0;
	if (f->flush_rc < 0 ||
	    (f->n_flushed == n_changes && !atomic_load(&f->fd_is_out)))
		return f->flush_rc;
	while (fdatasync(f->fd) < 0) {
		if (errno == EINTR)
			continue;
		f->flush_rc = -errno;
		break;
	}
	f->n_flushed = n_changes;
	return f->flush_rc;
}

int file_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct file *f = self;
	FILE_BLOCKS = file_blocks_share(f);
	struct stat st;
	off_t end;

	(void)err;
	if (f->is_device) {
		end = lseek(f->fd, 0, SEEK_END);
		if (end < 0)
			return -errno;
		*size = (uint64_t)end;
		return 0;
	}
	if (fstat(f->fd, &st) < 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int file_allocated(void *self, uint64_t *bytes, struct qcow2_error *err)
{
	struct file *f = self;
	struct stat st;

	if (f->is_device)
		return file_size(f, bytes, err);
	if (fstat(f->fd, &st) < 0)
		return -errno;
	*bytes = (uint64_t)st.st_blocks * SECTOR_BYTES;
	return 0;
}

static int file_fd(void *self)
{
	struct file *f = self;

	atomic_store(&f->fd_is_out, true);
	return f->fd;
}

static int file_identity(void *self, uint64_t *device, uint64_t *number)
{
	struct file *f = self;
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return -errno;
	*device = stat_identity(&st).device;
	*number = stat_identity(&st).number;
	return 0;
}

static void file_free(struct file *f)
{
	pthread_rwlock_destroy(&f->blocks);
	pthread_mutex_destroy(&f->flush_lock);
	pthread_mutex_destroy(&f->lock_lock);
	free(f);
}

/* Without unlocking: in a child the locks are the parent's as well. */
static void file_close(void *self)
{
	struct file *f = self;

	close(f->fd);
	file_free(f);
}

static uint32_t file_align(void *self)
{
	const struct file *f = self;

	return f->is_direct ? f->align : 1;
}

static const struct qcow2_store_ops file_ops = {
	.struct_size = sizeof(file_ops),
	.preadv = file_preadv,
	.pwritev = file_pwritev,
	.flush = file_flush,
	.zero = file_zero,
	.truncate = file_truncate,
	.size = file_size,
	.allocated = file_allocated,
	.extent = file_extent,
	.lock = file_lock,
	.fd = file_fd,
	.identity = file_identity,
	.close = file_close,
	.align = file_align,
};

static struct file *file_new(void)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	/* On Linux these fail for attributes only, of which there are none. */
	pthread_rwlock_init(&f->blocks, NULL);
	pthread_mutex_init(&f->flush_lock, NULL);
	pthread_mutex_init(&f->lock_lock, NULL);
	f->fd = -1;
	return f;
}

static bool lives_in_memory(int fd)
{
	struct statfs fs;
	uint32_t magic;

	if (fstatfs(fd, &fs) < 0)
		return false;
	/* Of a type whose width and sign differ between processors. */
	magic = (uint32_t)fs.f_type;
	return magic == TMPFS_MAGIC || magic == RAMFS_MAGIC ||
	       magic == HUGETLBFS_MAGIC;
}

static uint32_t sane_align(uint64_t align)
{
	bool ok = align >= SECTOR_BYTES && align <= 65536 &&
		  is_aligned(align, align);

	return ok ? (uint32_t)align : DEFAULT_ALIGN;
}

static uint32_t device_align(int fd)
{
	int bytes = 0;

	if (ioctl(fd, BLKSSZGET, &bytes) < 0 || bytes <= 0)
		return DEFAULT_ALIGN;
	return sane_align((uint64_t)bytes);
}

/* Returns the alignment that O_DIRECT needs on a regular file, if the kernel
 * tells. */
static uint32_t direct_align(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align)
		return sane_align(max_u64(stx.stx_dio_mem_align,
					  stx.stx_dio_offset_align));
#else
	(void)fd;
#endif
	return DEFAULT_ALIGN;
}

/* O_NONBLOCK has done its work at open; O_APPEND would ignore offsets. */
static int set_status_flags(struct file *f, const char *name, unsigned flags,
			    struct qcow2_error *err)
{
	int old = fcntl(f->fd, F_GETFL);
	int want = old & ~(O_NONBLOCK | O_APPEND);

	if (flags & QCOW2_STORE_DIRECT)
		want |= O_DIRECT;
	f->is_direct = (want & O_DIRECT) != 0;
	if (want == old || fcntl(f->fd, F_SETFL, want) == 0)
		return 0;
	if (errno == EINVAL && (flags & QCOW2_STORE_DIRECT))
		return error_set(err, -EINVAL,
				 "%s: its file system has no O_DIRECT",
				 NAME(name));
	return file_fail(name, "set the descriptor's flags", err);
}

/* The descriptor must have been opened with the access that is asked for. */
static int check_access(int fd, const char *name, unsigned flags,
			struct qcow2_error *err)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl < 0)
		return file_fail(name, "look at the descriptor", err);
	if ((fl & O_PATH) || (fl & O_ACCMODE) == O_WRONLY)
		return error_set(err, -EBADF,
				 "%s: descriptor %d is not open for reading",
				 NAME(name), fd);
	if ((flags & QCOW2_STORE_RDWR) && (fl & O_ACCMODE) != O_RDWR)
		return error_set(err, -EBADF,
				 "%s: descriptor %d is not open for writing",
				 NAME(name), fd);
	return 0;
}

/* Uses @fd itself, or a copy above 2 in its place. */
static int adopt_fd(struct file *f, int fd, const char *name,
		    struct qcow2_error *err)
{
	f->fd = fd;
	if (fd < FIRST_FREE_FD)
		f->fd = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	else if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return file_fail(name, "set close-on-exec", err);
	return f->fd < 0 ? file_fail(name, "copy the descriptor", err) : 0;
}

/* Programs that have the old contents open object by their locks. */
static int store_file_empty(struct file *f, const char *name,
			    struct qcow2_error *err)
{
	struct stat st;
	int rc;

	if (fstat(f->fd, &st) < 0)
		return file_fail(name, "look at the file", err);
	if (f->is_device || st.st_size == 0)
		return 0;
	rc = file_lock(f, QCOW2_STORE_LOCK_WRITE, err);
	if (rc < 0 && rc != -ENOTSUP)
		return error_prefix(err, rc, "%s", NAME(name));
	file_changed(f);
	if (ftruncate(f->fd, 0) < 0)
		return file_fail(name, "empty the file", err);
	return file_lock(f, QCOW2_STORE_UNLOCK, err);
}

static int store_file_prepare(struct file *f, int fd, const char *name,
			      unsigned flags, struct qcow2_error *err)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return file_fail(name, "look at the file", err);
	rc = file_check_kind(&st, name, err);
	if (rc < 0)
		return rc;
	rc = check_access(fd, name, flags, err);
	if (rc < 0)
		return rc;
	rc = adopt_fd(f, fd, name, err);
	if (rc < 0)
		return rc;
	rc = set_status_flags(f, name, flags, err);
	if (rc < 0)
		return rc;
	f->no_flush = flags & QCOW2_STORE_NO_FLUSH;
	f->is_device = S_ISBLK(st.st_mode);
	f->is_ram = lives_in_memory(f->fd);
	f->align = f->is_device ? device_align(f->fd) : direct_align(f->fd);
	file_validate(f);
	return flags & QCOW2_STORE_CREATE ? store_file_empty(f, name, err) : 0;
}

int store_file_from_fd(int fd, const char *name, unsigned flags,
		       struct qcow2_store **out, struct qcow2_error *err)
{
	struct file *f = file_new();
	int rc;

	if (!f)
		return error_nomem(err, "an open file", sizeof(*f));
	rc = store_file_prepare(f, fd, name, flags, err);
	if (rc == 0)
		rc = store_new(&file_ops, f, name, !(flags & QCOW2_STORE_RDWR),
			       out, err);
	if (rc < 0) {
		if (f->fd >= 0 && f->fd != fd)
			close(f->fd);
		file_free(f);
		return rc;
	}
	store_set_abandon(*out, file_close);
	store_set_transfer_ops(*out, &file_transfer_ops);
	if (f->fd != fd)
		close(fd);
	return 0;
}

static int open_flags(unsigned flags)
{
	int fl = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	fl |= flags & QCOW2_STORE_RDWR ? O_RDWR : O_RDONLY;
	fl |= flags & QCOW2_STORE_CREATE ? O_CREAT : 0;
	return fl;
}

int store_file_open(const char *path, unsigned flags, struct qcow2_store **out,
		    struct qcow2_error *err)
{
	struct stat st;
	int rc;
	int fd;

	/* Opening alone can rewind a tape or wake the other end of a pipe;
	 * store_file_prepare() looks again at what really was opened. */
	if (stat(path, &st) == 0) {
		rc = file_check_kind(&st, path, err);
		if (rc < 0)
			return rc;
	}
	do {
		fd = open(path, open_flags(flags), 0666);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return file_fail(path, "open", err);
	rc = store_file_from_fd(fd, path, flags, out, err);
	if (rc < 0)
		close(fd);
	return rc;
}
