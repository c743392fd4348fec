/*
 * The common part of the tests of publication: each has a directory of its own.
 */
#ifndef PUBLISH_RIG_H
#define PUBLISH_RIG_H

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "loop_device.h"
#include "store/publish.h"

static int fsync_errno;
static int dir_errno; /* of the fsync() of a directory */
static int n_syncs;

int fdatasync(int fd)
{
	(void)fd;
	n_syncs++;
	errno = fsync_errno;
	return fsync_errno ? -1 : 0;
}

int fsync(int fd)
{
	(void)fd;
	n_syncs++;
	errno = dir_errno;
	return dir_errno ? -1 : 0;
}

/* A directory of its own for each test, left when it ends. */
static char home[200];

static inline int enter(void **state)
{
	(void)state;
	fsync_errno = 0;
	dir_errno = 0;
	n_syncs = 0;
	umask(022);
	temp_name(home, sizeof(home), ".");
	return mkdir(home, 0755) || chdir(home);
}

static inline int n_entries(void)
{
	DIR *d = opendir(".");
	int n = -2; /* itself and its parent */

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline int leave(void **state)
{
	(void)state;
	umask(022);
	/* Of a test that failed. */
	umount2("out", MNT_DETACH);
	umount2("small", MNT_DETACH);
	if (system("rm -rf ./* ./.[!.]*") != 0)
		return -1;
	return chdir("..") || rmdir(home);
}

static inline void put(const char *name, const char *text, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	ok(fchmod(fd, mode));
	close(fd);
}

static inline mode_t mode_of(const char *name)
{
	struct stat st;

	ok(stat(name, &st));
	return st.st_mode & 07777;
}

static const struct publish_opts plain;

static inline void begin_with(struct publish *p, const char *name,
			      unsigned flags)
{
	struct publish_opts opts = { .flags = flags };
	struct qcow2_error err = { 0 };

	ok(publish_begin(p, name, &opts, &err));
	ok(store_truncate(p->store, 0, &err));
	ok(store_pwrite(p->store, "new", 3, 0, 0, &err));
}

static inline void begin(struct publish *p, const char *name)
{
	begin_with(p, name, 0);
}

/* Written bytes can be read under the name at once, and not only at the end. */
static inline void assert_in_place(const char *name, uint32_t reason,
				   unsigned flags)
{
	int before = n_entries();
	struct publish p;
	struct stat st, st_now;

	ok(stat(name, &st));
	begin_with(&p, name, flags);
	assert_int_equal(p.in_place, reason);
	assert_int_equal(n_entries(), before);
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents(name, "new");
	ok(stat(name, &st_now));
	assert_int_equal(st_now.st_ino, st.st_ino);
}

static inline void assert_replaced(const char *name, unsigned flags)
{
	int before = n_entries();
	struct publish p;

	begin_with(&p, name, flags);
	assert_int_equal(p.in_place, QCOW2_IN_PLACE_NO);
	assert_contents(name, "old");
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents(name, "new");
	assert_int_equal(n_entries(), before);
}

static inline int refuse(const char *name, const char *reason)
{
	struct qcow2_error err = { 0 };
	struct publish p;
	int before = n_entries();
	int rc = publish_begin(&p, name, &plain, &err);

	assert_non_null(strstr(err.message, reason));
	assert_null(p.store);
	assert_int_equal(n_entries(), before);
	return rc;
}

/* In a child that is not root, who may do everything; 0, or the line that
 * failed. */
static inline int as_somebody(uid_t uid, int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (geteuid() == 0 &&
		    (setgroups(0, NULL) || setgid(uid) || setuid(uid)))
			_exit(99);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define EXPECT(expression)               \
	do {                             \
		if (!(expression))       \
			return __LINE__; \
	} while (0)

#endif
