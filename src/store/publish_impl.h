/*
 * The parts of publication, for its own files only.
 *
 *	publish.c       begin, commit, abort
 *	publish_path.c  what a path leads to
 */
#ifndef STORE_PUBLISH_IMPL_H
#define STORE_PUBLISH_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "store/publish.h"

/* Bytes of @path up to and with the last slash; 0 when it has none. */
size_t path_dir_len(const char *path);
/* The directory of @path, allocated; NULL without memory. */
char *path_dir(const char *path);
bool stat_is_same(const struct stat *a, const struct stat *b);

/*
 * The name behind all symbolic links of @path, which need not exist, in *out,
 * allocated.  *is_fd: what it leads to is an open file, by /proc/self/fd/N or a
 * link to it such as /dev/stdout, which may have no name at all: *out is to be
 * opened as it is, and can neither be replaced nor followed.
 */
int publish_resolve(const char *path, char **out, bool *is_fd,
		    struct qcow2_error *err);

#endif
