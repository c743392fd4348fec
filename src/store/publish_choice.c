/*
 * Whether a file that is there is replaced or written in place, decided before
 * any work.  Replacing is better, since the old contents last until the new
 * ones are complete; it is not always possible, and what it would lose that is
 * no part of the contents has to stay.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/publish_impl.h"

#define SECTOR_BYTES 512

/* A file that another one is mounted over, or that is bind-mounted. */
static bool is_mounted(int fd, const struct stat *st, const char *path)
{
	CLEANUP_FREE char *dir = path_dir(path);
	struct statx stx;
	struct stat st_dir;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) == 0 &&
	    (stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return stx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	return dir && stat(dir, &st_dir) == 0 && st_dir.st_dev != st->st_dev;
}

/* The errors by which directories and file systems refuse a change. */
static bool is_refusal(int rc)
{
	return rc == -EACCES || rc == -EPERM || rc == -EROFS || rc == -EBUSY;
}

/*
 * Whether the name may be given to another file, as 1 or 0: not so in a
 * directory that we may not write to, in a sticky one where the file is
 * somebody else's, nor when it is immutable.  The kernel asks all of this of
 * rmdir(), which then finds that the file, which we have open, is no directory.
 */
static int may_be_removed(const char *path)
{
	if (rmdir(path) < 0 && errno == ENOTDIR)
		return 1;
	return is_refusal(-errno) ? 0 : -errno;
}

/* Both would have to fit at the same time, and only one does.  If not even one
 * does, the old one is not lost for nothing. */
static bool is_too_full(int fd, const struct stat *st,
			const struct publish_opts *opts)
{
	uint64_t old_bytes = (uint64_t)st->st_blocks * SECTOR_BYTES;
	uint64_t needed = opts->bytes_max;
	struct statvfs fs;
	uint64_t room;

	if (!old_bytes || fstatvfs(fd, &fs) < 0)
		return false;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (needed > room && opts->count)
		needed = opts->count(opts->opaque);
	return needed > room && needed - room <= old_bytes;
}

int choose_before(int fd, const struct stat *st, const char *path,
		  const struct publish_opts *opts)
{
	int rc;

	if (opts->flags & PUBLISH_IN_PLACE)
		return QCOW2_IN_PLACE_ASKED;
	if (is_mounted(fd, st, path))
		return QCOW2_IN_PLACE_MOUNT;
	rc = may_be_removed(path);
	if (rc <= 0)
		return rc < 0 ? rc : QCOW2_IN_PLACE_DIRECTORY;
	if (opts->flags & PUBLISH_REPLACE)
		return QCOW2_IN_PLACE_NO;
	if (st->st_nlink > 1)
		return QCOW2_IN_PLACE_LINKS;
	return is_too_full(fd, st, opts) ? QCOW2_IN_PLACE_ROOM
					 : QCOW2_IN_PLACE_NO;
}

int choose_with(int temp_fd, int fd, const struct stat *st,
		const struct publish_opts *opts)
{
	int rc = 1;

	if (opts->flags & PUBLISH_REPLACE)
		keep_what_can_be(temp_fd, fd, st);
	else
		rc = keep_attributes(temp_fd, fd, st);
	if (rc < 0)
		return rc;
	return rc ? QCOW2_IN_PLACE_NO : QCOW2_IN_PLACE_ATTRIBUTES;
}

int choose_without(int rc, const struct publish_opts *opts)
{
	if (opts->flags & PUBLISH_REPLACE)
		return rc;
	if (rc == -ENOSPC || rc == -EDQUOT)
		return QCOW2_IN_PLACE_ROOM;
	return is_refusal(rc) ? QCOW2_IN_PLACE_DIRECTORY : rc;
}

const char *in_place_text(int reason)
{
	static const char *const texts[] = {
		[QCOW2_IN_PLACE_DEVICE] = "it is a block device",
		[QCOW2_IN_PLACE_DESCRIPTOR] = "it is an open descriptor",
		[QCOW2_IN_PLACE_MOUNT] = "it is a mount point",
		[QCOW2_IN_PLACE_DIRECTORY] =
			"its directory does not let it be replaced",
	};

	return texts[reason];
}
