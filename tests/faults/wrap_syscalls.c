#include "faults/wrap_syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct syscall_plan plan;
static atomic_uint_fast64_t n_seen;
static atomic_uint_fast64_t n_fired;
static atomic_uint_fast64_t n_syncs_fired;
static _Thread_local unsigned interrupts;

void wrap_syscalls_arm(const struct syscall_plan *p)
{
	plan = *p;
	n_seen = 0;
	n_fired = 0;
	n_syncs_fired = 0;
}

uint64_t wrap_syscalls_fired(void)
{
	return n_fired;
}

uint64_t wrap_syscalls_syncs_fired(void)
{
	return n_syncs_fired;
}

/* Returns true when the call ends here, with errno. */
static bool ends(unsigned call)
{
	uint64_t n;

	if (call != CALL_RENAME && interrupts++ < plan.n_eintr) {
		errno = EINTR;
		return true;
	}
	interrupts = 0;
	if (!(plan.calls & call) || !plan.nth)
		return false;
	n = atomic_fetch_add(&n_seen, 1) + 1;
	if (n < plan.nth || (n > plan.nth && !plan.persistent))
		return false;
	atomic_fetch_add(&n_fired, 1);
	atomic_fetch_add(&n_syncs_fired, call == CALL_SYNC);
	errno = plan.error;
	return true;
}

static ssize_t ended(void)
{
	return errno ? -1 : 0;
}

static ssize_t transfer(long number, int fd, const struct iovec *iov, int n,
			off_t off, int rwf)
{
	struct iovec cut = iov[0];

	if (!plan.most)
		return syscall(number, fd, iov, n, off, 0, rwf);
	if (cut.iov_len > plan.most)
		cut.iov_len = plan.most;
	return syscall(number, fd, &cut, 1, off, 0, rwf);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int rwf)
{
	return ends(CALL_READ) ? ended()
			       : transfer(SYS_preadv2, fd, iov, n, off, rwf);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int rwf)
{
	return ends(CALL_WRITE) ? ended()
				: transfer(SYS_pwritev2, fd, iov, n, off, rwf);
}

int fdatasync(int fd)
{
	(void)fd;
	return ends(CALL_SYNC) ? -1 : 0;
}

int fsync(int fd)
{
	(void)fd;
	return ends(CALL_SYNC) ? -1 : 0;
}

int ftruncate(int fd, off_t size)
{
	return ends(CALL_TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	return ends(CALL_ALLOCATE)
		       ? -1
		       : (int)syscall(SYS_fallocate, fd, mode, off, len);
}

/* This call gives a file without a name its name. */
int linkat(int from_dir, const char *from, int to_dir, const char *to,
	   int flags)
{
	return ends(CALL_RENAME) ? -1
				 : (int)syscall(SYS_linkat, from_dir, from,
						to_dir, to, flags);
}

int rename(const char *from, const char *to)
{
	return ends(CALL_RENAME) ? -1 : (int)syscall(SYS_rename, from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
	      unsigned flags)
{
	return ends(CALL_RENAME) ? -1
				 : (int)syscall(SYS_renameat2, from_dir, from,
						to_dir, to, flags);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return ends(CALL_OPEN)
		       ? -1
		       : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
