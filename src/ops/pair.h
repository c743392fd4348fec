/*
 * New files at a path, one file or an image and its data file, come to their
 * place when they are complete.
 *
 * Both files are begun before the first byte is written, and the data file is
 * published first: an image never names a data file that is not there yet.
 */
#ifndef OPS_PAIR_H
#define OPS_PAIR_H

#include <stdbool.h>

#include <qcow2.h>

#include "store/publish.h"

struct pair {
	const char *path;
	const char *data_path;     /* NULL: one file */
	struct publish_opts where; /* for both; the placement is that of the
				    * file at `path` */
	bool syncs;                /* both are durable before they get their
				    * names, and then the names */
	/* Refuses a file that is needed for what is made; asked when the file
	 * is there and locked, before it is touched.  Of each in turn. */
	int (*check)(void *opaque, const struct publish *file,
		     struct qcow2_error *err);
	/* @data: NULL where there is one file. */
	int (*fill)(void *opaque, const struct publish *file,
		    struct qcow2_store *data, struct qcow2_error *err);
	void *opaque;
	/* Receive the holds of both when they are in their places; NULL: nobody
	 * holds them then. */
	struct store_hold *hold;
	struct store_hold *data_hold;
};

/* After a failure both places are as they were, as far as they are not written
 * in place, and nothing is held. */
int pair_make(const struct pair *p, struct qcow2_error *err);

#endif
