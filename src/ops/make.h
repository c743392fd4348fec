/*
 * New images.  All options have been checked.
 */
#ifndef OPS_MAKE_H
#define OPS_MAKE_H

#include <qcow2.h>

struct disk;

/* With nothing in it, in stores that the caller has (@data: NULL for an image
 * without a data file); both are held for writing meanwhile. */
int make_in_stores(struct qcow2_store *file, struct qcow2_store *data,
		   const struct qcow2_create_opts *create,
		   struct qcow2_error *err);

/* With nothing in it, at @path.  @how: PUBLISH_*. */
int make_empty(const char *path, const struct qcow2_create_opts *create,
	       unsigned how, struct qcow2_error *err);

/* The same two, and the image is open for writing with @open before anybody
 * else can open it.  If it cannot be opened, a path is as it was. */
int make_open_in_stores(struct qcow2_store *file, struct qcow2_store *data,
			const struct qcow2_create_opts *create,
			const struct qcow2_open_opts *open, struct disk **out,
			struct qcow2_error *err);
int make_open_empty(const char *path, const struct qcow2_create_opts *create,
		    unsigned how, const struct qcow2_open_opts *open,
		    struct disk **out, struct qcow2_error *err);

/* With the contents of a disk. */
struct make_copy_opts {
	struct disk *src;
	struct disk *below; /* the backing file, open; or NULL */
	const struct qcow2_convert_opts *opts;
	const struct qcow2_create_opts *create;
};

int make_copy(const char *path, const struct make_copy_opts *copy, unsigned how,
	      struct qcow2_error *err);

#endif
