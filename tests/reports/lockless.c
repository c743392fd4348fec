/*
 * A host whose lock calls fail, for programs that are started with this module
 * in LD_PRELOAD: LOCK_ERRNO says how, for regular files; FSYNC_ERRNO and
 * FCHMOD_ERRNO say the same of other calls.
 */
/* Both names of fcntl are wanted. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef int fcntl_fn(int fd, int cmd, ...);

static int errno_of(const char *name)
{
	const char *text = getenv(name);

	return text ? atoi(text) : 0;
}

static int is_lock(int cmd)
{
	return cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW ||
	       cmd == F_OFD_GETLK || cmd == F_SETLK || cmd == F_SETLKW ||
	       cmd == F_GETLK;
}

static int fails(int fd, int cmd)
{
	struct stat st;

	return is_lock(cmd) && errno_of("LOCK_ERRNO") && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode);
}

static int pass_on(const char *name, int fd, int cmd, void *arg)
{
	fcntl_fn *real;

	*(void **)&real = dlsym(RTLD_NEXT, name);
	if (fails(fd, cmd)) {
		errno = errno_of("LOCK_ERRNO");
		return -1;
	}
	return real(fd, cmd, arg);
}

int fcntl(int fd, int cmd, ...);
int fcntl64(int fd, int cmd, ...);

int fcntl(int fd, int cmd, ...)
{
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	return pass_on("fcntl", fd, cmd, arg);
}

int fcntl64(int fd, int cmd, ...)
{
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	return pass_on("fcntl64", fd, cmd, arg);
}

static int fail_or(const char *variable, const char *name, int fd, int arg)
{
	int (*real)(int fd, int arg);

	if (errno_of(variable)) {
		errno = errno_of(variable);
		return -1;
	}
	*(void **)&real = dlsym(RTLD_NEXT, name);
	return real(fd, arg);
}

int fsync(int fd);
int fchmod(int fd, mode_t mode);

/* This fails for directories only: files must reach the disk. */
int fsync(int fd)
{
	struct stat st;
	int is_dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);

	return fail_or(is_dir ? "FSYNC_ERRNO" : "", "fsync", fd, 0);
}

int fchmod(int fd, mode_t mode)
{
	return fail_or("FCHMOD_ERRNO", "fchmod", fd, (int)mode);
}
