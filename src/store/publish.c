#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "store/file.h"
#include "store/file_impl.h"
#include "store/publish_impl.h"
#include "store/store.h"

#define MAX_NAME_PART 200 /* leaves room for the rest below NAME_MAX */
#define MAX_TRIES 100
#define RANDOM_CHARS 6

/* Only so that two programs do not collide; O_EXCL is what keeps us safe. */
static void random_chars(char *dst)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz012345";
	uint8_t bytes[RANDOM_CHARS] = { 0 };

	if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) < 0)
		memset(bytes, 0, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		dst[i] = set[(bytes[i]) % 32];
}

/* Creates DIR/.NAME.XXXXXX.tmp; its descriptor and its name. */
static int create_temp(struct publish *p, mode_t mode, struct qcow2_error *err)
{
	size_t dir = path_dir_len(p->final_path);
	const char *name = p->final_path + dir;
	char unique[RANDOM_CHARS + 1] = { 0 };
	int fd;

	for (int i = 0; i < MAX_TRIES; i++) {
		random_chars(unique);
		if (asprintf(&p->temp_path, "%.*s.%.*s.%s.tmp", (int)dir,
			     p->final_path, MAX_NAME_PART, name, unique) < 0) {
			p->temp_path = NULL;
			return error_nomem(err, "a name", PATH_MAX);
		}
		fd = open(p->temp_path,
			  O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY,
			  mode);
		if (fd >= 0)
			return fd;
		free(p->temp_path);
		p->temp_path = NULL;
		if (errno != EEXIST && errno != EINTR)
			break;
	}
	return file_fail(p->final_path, "create a temporary file beside it",
			 err);
}

/* Mode and owner of the file to be replaced.  Where the group cannot be kept,
 * the new group gets no more than everybody. */
static int copy_mode(int fd, const struct stat *old, const char *name,
		     struct qcow2_error *err)
{
	mode_t mode = old->st_mode & 0777;
	struct stat now;

	if (fstat(fd, &now) < 0)
		return file_fail(name, "look at the temporary file", err);
	if ((now.st_uid != old->st_uid || now.st_gid != old->st_gid) &&
	    fchown(fd, old->st_uid, old->st_gid) < 0 &&
	    fchown(fd, (uid_t)-1, old->st_gid) < 0)
		mode = (mode & ~(mode_t)070) | (mode & 07 & mode >> 3) << 3;
	if (fchmod(fd, mode) < 0)
		return file_fail(name, "keep the mode of the old file", err);
	return 0;
}

/* @old: what is to be replaced, NULL if nothing.  Its contents may be private,
 * so the new file begins that way; else the umask decides. */
static int begin_temp(struct publish *p, const char *path, unsigned flags,
		      const struct stat *old, struct qcow2_error *err)
{
	int fd = create_temp(p, old ? 0600 : 0666, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = old ? copy_mode(fd, old, path, err) : 0;
	if (rc == 0)
		rc = store_file_from_fd(fd, path, flags | QCOW2_STORE_RDWR,
					&p->store, err);
	if (rc < 0)
		close(fd);
	return rc < 0 ? rc : store_hold(&p->hold, p->store, HOLD_WRITE, err);
}

static int open_held(const char *path, unsigned flags,
		     struct qcow2_store **out, struct store_hold *hold,
		     struct qcow2_error *err)
{
	int rc = store_file_open(path, flags | QCOW2_STORE_RDWR, out, err);

	return rc < 0 ? rc : store_hold(hold, *out, HOLD_WRITE, err);
}

static int begin_new(struct publish *p, const char *path, unsigned flags,
		     struct qcow2_error *err)
{
	if (p->final_path[path_dir_len(p->final_path)] == '\0')
		return error_set(err, -EINVAL, "%s: is not the name of a file",
				 TEXT(path, strlen(path)));
	return begin_temp(p, path, flags, NULL, err);
}

static int begin(struct publish *p, const char *path, unsigned flags,
		 struct qcow2_error *err)
{
	struct stat st;
	bool is_fd;
	int rc = publish_resolve(path, &p->final_path, &is_fd, err);

	if (rc < 0)
		return rc;
	if (stat(p->final_path, &st) < 0)
		return errno == ENOENT ? begin_new(p, path, flags, err)
				       : file_fail(path, "look at the file", err);
	rc = file_check_kind(&st, path, err);
	if (rc < 0)
		return rc;
	p->in_place = is_fd || S_ISBLK(st.st_mode);
	if (p->in_place)
		return open_held(path, flags, &p->store, &p->hold, err);
	rc = open_held(path, 0, &p->replaced, &p->replaced_hold, err);
	return rc < 0 ? rc : begin_temp(p, path, flags, &st, err);
}

int publish_begin(struct publish *p, const char *path, unsigned flags,
		  struct qcow2_error *err)
{
	int rc;

	*p = (struct publish){ 0 };
	rc = begin(p, path, flags, err);
	if (rc < 0)
		publish_abort(p);
	return rc;
}

struct qcow2_store *publish_old(const struct publish *p)
{
	return p->in_place ? p->store : p->replaced;
}

static int sync_fd(int fd)
{
	int rc;

	do {
		rc = fsync(fd);
	} while (rc < 0 && errno == EINTR);
	/* Some file systems cannot sync a directory, and need not. */
	return rc < 0 && errno != EINVAL ? -errno : 0;
}

/* Makes the rename durable.  A directory that may be entered but not opened is
 * made durable with all of its file system. */
static int sync_dir(const struct publish *p)
{
	CLEANUP_FREE char *dir = path_dir(p->final_path);
	int rc;
	int fd;

	if (!dir)
		return -ENOMEM;
	do {
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return syncfs(store_fd(p->store)) < 0 ? -errno : 0;
	rc = sync_fd(fd);
	close(fd);
	return rc;
}

static int put_in_place(struct publish *p, bool sync, struct qcow2_error *err)
{
	int rc;

	if (rename(p->temp_path, p->final_path) < 0)
		return file_fail(p->final_path,
				 "rename the finished file to it", err);
	free(p->temp_path);
	p->temp_path = NULL;
	rc = sync ? sync_dir(p) : 0;
	if (rc == 0)
		return 0;
	errno = -rc;
	return file_fail(p->final_path, "make its new name durable", err);
}

int publish_commit(struct publish *p, bool sync, struct qcow2_error *err)
{
	int rc = store_check_here(p->store, err);

	if (rc == 0 && sync)
		rc = store_flush(p->store, err);
	if (rc == 0 && !p->in_place)
		rc = put_in_place(p, sync, err);
	publish_abort(p);
	return rc;
}

void publish_abort(struct publish *p)
{
	/* A child has no business with its parent's files. */
	if (p->temp_path && (!p->store || store_is_here(p->store)))
		unlink(p->temp_path);
	store_release(&p->hold);
	store_release(&p->replaced_hold);
	store_unref(p->store);
	store_unref(p->replaced);
	free(p->temp_path);
	free(p->final_path);
	*p = (struct publish){ 0 };
}
