/*
 * Paths as text.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <stddef.h>
#include <string.h>

/* Bytes of @path up to and with the last slash; 0 when it has none. */
static inline size_t path_dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Both allocate what they return: NULL, with errno set, without memory. */

/* The directory that @path is in: with its last slash, or ".". */
char *path_dir(const char *path);

/* @name as seen from the directory of @from; an absolute one stays. */
char *path_join(const char *from, const char *name);

#endif
