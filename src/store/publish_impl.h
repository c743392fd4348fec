/*
 * The parts of publication, for its own files only.
 *
 *	publish.c         begin, commit, abort
 *	publish_path.c    what a path leads to
 *	publish_choice.c  replace or write in place
 *	publish_keep.c    owner, mode, extended attributes
 *	publish_temp.c    temporary files
 */
#ifndef STORE_PUBLISH_IMPL_H
#define STORE_PUBLISH_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/path.h"
#include "store/publish.h"

bool stat_is_same(const struct stat *a, const struct stat *b);

/*
 * The name behind all symbolic links of @path, which need not exist, in *out,
 * allocated.  *is_fd: it leads to an open file, by /proc/self/fd/N or a link to
 * it such as /dev/stdout, which may have no name at all: *out is to be opened
 * as it is, and can neither be replaced nor followed.
 */
int publish_resolve(const char *path, char **out, bool *is_fd,
		    struct qcow2_error *err);

/*
 * QCOW2_IN_PLACE_*: the reason why the regular file at @path, open as @fd, is
 * not to be replaced, as far as that can be told without a file to replace it
 * with, and with one, which then has all that the old one has.  A negative
 * errno where that says nothing about the file: memory or descriptors are
 * short.
 */
int choose_before(int fd, const struct stat *st, const char *path,
		  const struct publish_opts *opts);
int choose_with(int temp_fd, int fd, const struct stat *st,
		const struct publish_opts *opts);
/* The same when temp_open() failed with @rc. */
int choose_without(int rc, const struct publish_opts *opts);
/* Why a file cannot be replaced, for people; NULL where it could be. */
const char *in_place_text(int reason);

/* Gives the file @to all that @from, whose stat() gave @old, has besides
 * contents.  Returns 1; 0 when something could not be kept; -ENOMEM. */
int keep_attributes(int to, int from, const struct stat *old);
/* The same for a file that is replaced in any case. */
void keep_what_can_be(int to, int from, const struct stat *old);

/* A descriptor, or a negative errno.  *temp_path is allocated, or NULL when the
 * file has no name. */
int temp_open(const char *final_path, mode_t mode, char **temp_path);
/* Gives it its name; *temp_path is then NULL.  After a failure it may be set
 * where it was not.  No file but the one open as @replaced_fd is replaced, and
 * none where that is negative: -EEXIST when the name is another's. */
int temp_publish(int fd, char **temp_path, const char *final_path,
		 int replaced_fd);

#endif
