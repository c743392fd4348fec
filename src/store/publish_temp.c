/*
 * The file that is written until it is complete.
 *
 * If the file system has files without a name, it has none until it gets its
 * own (to replace another it goes by a temporary name for the moment between
 * two system calls), so that nothing is left of a program that is killed, and
 * nothing is ever removed.  Elsewhere it has one of a few temporary names, and
 * a lock: the next program that makes a file in this place removes those that
 * nobody holds locked.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/file_impl.h"
#include "store/publish_impl.h"

#define MAX_NAME_PART 200 /* leaves room for the rest below NAME_MAX */
#define N_NAMES 16

/* Ours, below the bytes that images are locked by (file_lock.c). */
#define LOCK_BYTE 99
/* All of them: nobody has it open as an image either. */
#define LOCK_BYTES 256

/* -EAGAIN when somebody else holds one of the bytes. */
static int lock_bytes(int fd, int n)
{
	struct flock lk = { .l_type = F_WRLCK,
			    .l_whence = SEEK_SET,
			    .l_start = LOCK_BYTE,
			    .l_len = n };

	return fcntl(fd, F_OFD_SETLK, &lk) < 0 ? -errno : 0;
}

static bool is_named(int fd, const char *name)
{
	struct stat st;
	struct stat st_name;

	return fstat(fd, &st) == 0 && lstat(name, &st_name) == 0 &&
	       S_ISREG(st.st_mode) && stat_is_same(&st, &st_name);
}

/* Without locks on the host nothing is known to be left over. */
static void remove_if_stale(const char *name)
{
	int fd = open(name,
		      O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (is_named(fd, name) && lock_bytes(fd, LOCK_BYTES) == 0 &&
	    is_named(fd, name))
		unlink(name);
	close(fd);
}

/* DIR/.NAME.qcow2-tmp-N, allocated: a form that others do not use, since what
 * is left of it is removed. */
static char *temp_name(const char *final_path, unsigned n)
{
	size_t dir = path_dir_len(final_path);
	char *name;

	if (asprintf(&name, "%.*s.%.*s.qcow2-tmp-%x", (int)dir, final_path,
		     MAX_NAME_PART, final_path + dir, n) < 0)
		return NULL;
	return name;
}

static void remove_stale(const char *final_path)
{
	for (unsigned i = 0; i < N_NAMES; i++) {
		CLEANUP_FREE char *name = temp_name(final_path, i);

		if (name)
			remove_if_stale(name);
	}
}

/* "/proc/self/fd/2147483647" */
struct fd_path {
	char s[32];
};

static struct fd_path fd_path(int fd)
{
	struct fd_path path;

	snprintf(path.s, sizeof(path.s), "/proc/self/fd/%d", fd);
	return path;
}

/* Without /proc there would be no way to a name. */
static bool can_be_linked(int fd)
{
	struct fd_path path = fd_path(fd);
	struct stat st;
	struct stat st_path;

	return fstat(fd, &st) == 0 && stat(path.s, &st_path) == 0 &&
	       stat_is_same(&st, &st_path);
}

static int open_unnamed(const char *final_path, mode_t mode)
{
	CLEANUP_FREE char *dir = path_dir(final_path);
	int fd;

	if (!dir)
		return -1;
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (fd < 0 || can_be_linked(fd))
		return fd;
	close(fd);
	return -1;
}

/* A new file of this name, locked.  -EAGAIN: somebody took it for stale. */
static int open_name(const char *name, mode_t mode)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY,
		      mode);

	if (fd < 0)
		return -errno;
	if (lock_bytes(fd, 1) != -EAGAIN && is_named(fd, name))
		return fd;
	close(fd);
	return -EAGAIN;
}

static int open_named(const char *final_path, mode_t mode, char **out)
{
	int rc = -EEXIST;

	remove_stale(final_path);
	for (unsigned i = 0; i < N_NAMES; i++) {
		*out = temp_name(final_path, i);
		if (!*out)
			return -ENOMEM;
		rc = open_name(*out, mode);
		if (rc >= 0)
			return rc;
		free(*out);
		*out = NULL;
		if (rc != -EEXIST && rc != -EAGAIN && rc != -EINTR)
			break;
	}
	return rc;
}

int temp_open(const char *final_path, mode_t mode, char **temp_path)
{
	int fd = open_unnamed(final_path, mode);

	*temp_path = NULL;
	if (fd >= 0)
		return fd;
	/* If it was for want of rights or room, this fails for it too. */
	return open_named(final_path, mode, temp_path);
}

static int link_fd(int fd, const char *name)
{
	struct fd_path path = fd_path(fd);

	return linkat(AT_FDCWD, path.s, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0
		       ? -errno
		       : 0;
}

/* A temporary name for what has none, so that it can be renamed. */
static int name_temp(int fd, const char *final_path, char **temp_path)
{
	int rc = -EEXIST;

	lock_bytes(fd, 1);
	for (unsigned i = 0; i < N_NAMES && rc == -EEXIST; i++) {
		*temp_path = temp_name(final_path, i);
		if (!*temp_path)
			return -ENOMEM;
		rc = link_fd(fd, *temp_path);
		if (rc == 0)
			return 0;
		free(*temp_path);
		*temp_path = NULL;
	}
	return rc;
}

static bool is_unsupported(int err)
{
	return err == EINVAL || err == ENOSYS || err == EOPNOTSUPP;
}

/* For file systems that have nothing better: looks, then renames. */
static int rename_if_absent(const char *from, const char *to)
{
	struct stat st;

	if (lstat(to, &st) == 0)
		return -EEXIST;
	if (errno != ENOENT)
		return -errno;
	return rename(from, to) < 0 ? -errno : 0;
}

/* rename(), but never over another file. */
static int rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (!is_unsupported(errno))
		return -errno;
	if (link(from, to) == 0) {
		unlink(from);
		return 0;
	}
	if (errno == EPERM || is_unsupported(errno))
		return rename_if_absent(from, to);
	return -errno;
}

/* The file that came out is not the one to replace: it gets its name back.  If
 * the name has changed hands again, the file at the temporary name is not ours
 * to remove. */
static int give_back(int fd, char **temp_path, const char *final_path)
{
	int rc = renameat2(AT_FDCWD, *temp_path, AT_FDCWD, final_path,
			   RENAME_EXCHANGE);

	if (rc == 0 && is_named(fd, *temp_path))
		return -EEXIST;
	rc = rc < 0 ? -errno : -EEXIST;
	free(*temp_path);
	*temp_path = NULL;
	return rc;
}

/* rename() over the file @replaced_fd and no other: somebody may have given the
 * name to another one since it was opened, and may do so at any moment. */
static int rename_over(int fd, char **temp_path, const char *final_path,
		       int replaced_fd)
{
	if (!is_named(replaced_fd, final_path))
		return -EEXIST;
	if (renameat2(AT_FDCWD, *temp_path, AT_FDCWD, final_path,
		      RENAME_EXCHANGE) < 0) {
		if (!is_unsupported(errno))
			return -errno;
		return rename(*temp_path, final_path) < 0 ? -errno : 0;
	}
	if (!is_named(replaced_fd, *temp_path))
		return give_back(fd, temp_path, final_path);
	unlink(*temp_path);
	return 0;
}

int temp_publish(int fd, char **temp_path, const char *final_path,
		 int replaced_fd)
{
	int rc = *temp_path ? rename_new(*temp_path, final_path)
			    : link_fd(fd, final_path);

	if (rc == -EEXIST && replaced_fd >= 0) {
		rc = *temp_path ? 0 : name_temp(fd, final_path, temp_path);
		if (rc == 0)
			rc = rename_over(fd, temp_path, final_path,
					 replaced_fd);
	}
	if (rc < 0)
		return rc;
	free(*temp_path);
	*temp_path = NULL;
	return 0;
}
