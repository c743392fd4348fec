/*
 * Rewriting the parts of the first cluster besides the fixed header: extensions
 * and the backing file's name (O23).
 */
#ifndef RESHAPE_HEADER_CLUSTER_H
#define RESHAPE_HEADER_CLUSTER_H

#include <qcow2.h>

#include "format/extension.h"
#include "format/header.h"

struct image;

struct header_cluster {
	struct header header;       /* backing_off and backing_len are set */
	const char *backing_file;   /* NULL: none */
	const char *backing_format; /* NULL: none */
	const struct bitmaps_ext *bitmaps; /* NULL: as they are */
};

/* Returns the current contents, to be changed and written. */
struct header_cluster header_cluster_of(const struct image *img);

/*
 * Makes the first cluster say @to.  All other extensions, and fields of the
 * header that this version does not know, stay as they are; a table of feature
 * names comes and goes with version 3.
 *
 * Order: all that is new behind the first sector is written where the old
 * header has nothing, made durable, and then shown by the first sector.
 * -ENOSPC, and nothing is changed, when the cluster has no such place.  No
 * request may be under way; strings of the image change place.
 */
int header_cluster_write(struct image *img, const struct header_cluster *to,
			 struct qcow2_error *err);

/* Changes the contents that the cluster has now; header_lock is held. */
typedef void header_cluster_fn(struct header_cluster *to, void *opaque);

/* The same for what @change makes of the present contents.  If that is no
 * string, requests may be under way, and strings of the image stay where they
 * are. */
int header_cluster_update(struct image *img, header_cluster_fn *change,
			  void *opaque, struct qcow2_error *err);

#endif
