/*
 * The attributes that a new file takes over from the one in its place: owner,
 * group, mode, extended attributes and with them access lists and security
 * labels.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/publish_impl.h"

/* Of the kernel: no name or value is longer, nor any list. */
#define XATTR_BYTES_MAX 65536

struct xattrs {
	int from;
	int to;
	char *names; /* of one of them, each with its NUL */
	ssize_t len; /* of all names; negative when they cannot be listed */
	char *value;
	char *other; /* value */
};

/* Attributes that the kernel computes from the contents are not copied. */
static bool is_computed(const char *name)
{
	return strcmp(name, "security.ima") == 0 ||
	       strcmp(name, "security.evm") == 0;
}

/* File systems without any say so. */
static void list(struct xattrs *x, int fd)
{
	x->len = flistxattr(fd, x->names, XATTR_BYTES_MAX);
	if (x->len < 0 && (errno == ENOTSUP || errno == ENOSYS))
		x->len = 0;
}

/* An attribute that both have needs no right to set it. */
static bool copy_one(const struct xattrs *x, const char *name)
{
	ssize_t n = fgetxattr(x->from, name, x->value, XATTR_BYTES_MAX);
	ssize_t n_now = fgetxattr(x->to, name, x->other, XATTR_BYTES_MAX);

	if (n < 0)
		return false;
	if (n == n_now && memcmp(x->value, x->other, (size_t)n) == 0)
		return true;
	return fsetxattr(x->to, name, x->value, (size_t)n, 0) == 0;
}

static bool publish_keep_copy_all(struct xattrs *x)
{
	list(x, x->from);
	for (char *name = x->names; name < x->names + x->len;
	     name += strlen(name) + 1)
		if (!is_computed(name) && !copy_one(x, name))
			return false;
	return x->len >= 0;
}

/* The new file has got some from its directory, such as a default access list.
 * A label cannot be taken away, and then the old file had one too. */
static bool remove_others(struct xattrs *x)
{
	list(x, x->to);
	for (char *name = x->names; name < x->names + x->len;
	     name += strlen(name) + 1)
		if (!is_computed(name) &&
		    fgetxattr(x->from, name, NULL, 0) < 0 &&
		    fremovexattr(x->to, name) < 0)
			return false;
	return x->len >= 0;
}

static int keep_xattrs(int to, int from)
{
	CLEANUP_FREE char *room = malloc(3 * XATTR_BYTES_MAX);
	struct xattrs x = {
		.from = from,
		.to = to,
		.names = room,
	};

	if (!room)
		return -ENOMEM;
	x.value = room + XATTR_BYTES_MAX;
	x.other = room + 2 * XATTR_BYTES_MAX;
	return publish_keep_copy_all(&x) && remove_others(&x);
}

static bool keep_owner_and_mode(int to, const struct stat *old)
{
	struct stat now;

	if (fstat(to, &now) < 0)
		return false;
	/* Some file systems refuse these calls: only needed ones are made. */
	if ((now.st_uid != old->st_uid || now.st_gid != old->st_gid) &&
	    fchown(to, old->st_uid, old->st_gid) < 0)
		return false;
	if ((now.st_mode ^ old->st_mode) & 07777 &&
	    fchmod(to, old->st_mode & 07777) < 0)
		return false;
	/* Some take the calls and do something else. */
	return fstat(to, &now) == 0 && now.st_uid == old->st_uid &&
	       now.st_gid == old->st_gid && now.st_mode == old->st_mode;
}

int keep_attributes(int to, int from, const struct stat *old)
{
	/* Writing would take the set-id bits away again. */
	if (old->st_mode & 07000 || !keep_owner_and_mode(to, old))
		return 0;
	return keep_xattrs(to, from);
}

/* If the old group is not kept, the new one gets no more than everybody. */
void keep_what_can_be(int to, int from, const struct stat *old)
{
	mode_t mode = old->st_mode & 0777;

	if (fchown(to, old->st_uid, old->st_gid) == 0 ||
	    fchown(to, (uid_t)-1, old->st_gid) == 0) {
		if (fchmod(to, mode) == 0)
			keep_xattrs(to, from);
		return;
	}
	mode = (mode & ~(mode_t)070) | (mode & 07 & mode >> 3) << 3;
	/* If that is refused only the owner can use the file. */
	(void)!fchmod(to, mode);
}
