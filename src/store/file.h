/*
 * Regular files and block devices as a store.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <qcow2.h>

#include "store/store.h"

/* Returns the identity of a store over the file @st; a device may have several
 * names. */
static inline struct store_identity stat_identity(const struct stat *st)
{
	if (S_ISBLK(st->st_mode))
		return (struct store_identity){ st->st_rdev, UINT64_MAX };
	return (struct store_identity){ st->st_dev, st->st_ino };
}

/* flags: QCOW2_STORE_RDWR, _CREATE, _DIRECT, _NO_FLUSH. */
int store_file_open(const char *path, unsigned flags, struct qcow2_store **out,
		    struct qcow2_error *err);

/* Takes over @fd on success only.  The descriptor is moved above 2 if need be,
 * checked with fstat() to be a regular file or block device, and read-only
 * unless flags has QCOW2_STORE_RDWR. */
int store_file_from_fd(int fd, const char *name, unsigned flags,
		       struct qcow2_store **out, struct qcow2_error *err);

#endif
