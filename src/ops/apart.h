/*
 * Keeps the files that are written apart from those that are read.  Locks do so
 * between programs; these functions do so where there are none.
 */
#ifndef OPS_APART_H
#define OPS_APART_H

#include <qcow2.h>

struct disk;
struct publish;

/* -EINVAL when @d, "the source" or so, reads from the file that @target
 * replaces or writes to.  NULL reads from nothing. */
int apart_check_publish(const struct publish *target, const struct disk *d,
			const char *what, struct qcow2_error *err);

/* The same for a target that is open for writing. */
int apart_check_disk(const struct disk *target, const struct disk *d,
		     const char *what, struct qcow2_error *err);

/* The file is not what a new image at @image_path names as its backing file. */
int apart_check_backing(const struct publish *file, const char *image_path,
			const struct qcow2_create_opts *create,
			struct qcow2_error *err);

#endif
