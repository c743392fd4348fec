/*
 * The file to which the path of a target leads.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/file.h"
#include "store/file_impl.h"
#include "store/publish_impl.h"
#include "store/store.h"

#define MAX_LINKS 40 /* as the kernel's own limit */

bool stat_is_same(const struct stat *a, const struct stat *b)
{
	return store_identity_equal(stat_identity(a), stat_identity(b));
}

/* Returns the target of the link at @path, as a path; NULL with errno set. */
static char *follow_once(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return NULL;
	target[n] = '\0';
	return path_join(path, target);
}

/* A link of procfs leads to an open file; its text is for people to read. */
static bool is_descriptor(const char *link)
{
	int fd = open(link, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;
	bool is_proc;

	if (fd < 0)
		return false;
	is_proc = fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
	close(fd);
	return is_proc;
}

/* realpath() would insist that the name behind all links exists. */
static char *follow_all(const char *path, bool *is_fd)
{
	char *name = strdup(path);

	for (int i = 0; name && i <= MAX_LINKS; i++) {
		struct stat st;
		char *next;

		if (lstat(name, &st) < 0 || !S_ISLNK(st.st_mode))
			return name;
		*is_fd = is_descriptor(name);
		if (*is_fd)
			return name;
		next = follow_once(name);
		free(name);
		name = next;
		errno = name ? ELOOP : errno;
	}
	free(name);
	return NULL;
}

/* If the kernel arrives at another file than the text of the links, the kernel
 * is right, and the name that we found belongs to a foreign file. */
static bool leads_elsewhere(const char *path, const char *name)
{
	struct stat st;
	struct stat st_name;

	return stat(path, &st) == 0 &&
	       (stat(name, &st_name) < 0 || !stat_is_same(&st, &st_name));
}

int publish_resolve(const char *path, char **out, bool *is_fd,
		    struct qcow2_error *err)
{
	*is_fd = false;
	*out = follow_all(path, is_fd);
	if (*out && !*is_fd && leads_elsewhere(path, *out)) {
		free(*out);
		*out = strdup(path);
		*is_fd = true;
	}
	return *out ? 0 : file_fail(path, "follow the symbolic links", err);
}

/* Of names where nothing is yet. */
static bool is_same_name(const char *a, const char *b)
{
	CLEANUP_FREE char *dir_a = path_dir(a);
	CLEANUP_FREE char *dir_b = path_dir(b);
	struct stat st_a;
	struct stat st_b;

	return dir_a && dir_b &&
	       strcmp(a + path_dir_len(a), b + path_dir_len(b)) == 0 &&
	       stat(dir_a, &st_a) == 0 && stat(dir_b, &st_b) == 0 &&
	       stat_is_same(&st_a, &st_b);
}

bool publish_leads_to(const struct publish *p, const char *path)
{
	struct qcow2_store *old = publish_old(p);
	CLEANUP_FREE char *name = NULL;
	struct store_identity id;
	struct stat st;
	bool is_fd;

	if (stat(path, &st) == 0)
		return old && store_identity(old, &id) &&
		       store_identity_equal(id, stat_identity(&st));
	return publish_resolve(path, &name, &is_fd, NULL) == 0 &&
	       is_same_name(name, p->final_path);
}
