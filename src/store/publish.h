/*
 * A file that appears under its name only when it is complete.
 *
 * publish_begin() makes a temporary file in the directory of @path (after
 * following symlinks, so that the link stays and its target is replaced);
 * publish_commit() flushes it, renames it over @path and flushes the
 * directory; publish_abort() removes it.  Where @path is a block device, or a
 * descriptor (/proc/self/fd/N, /dev/stdout), there is nothing to rename: the
 * store is what it leads to and `in_place` is set.
 *
 * The store is locked for writing, and so is the file that will be replaced:
 * an image that another program has open is refused with -EBUSY, as if it were
 * to be overwritten in place.  On a host without locks nobody is asked.
 */
#ifndef STORE_PUBLISH_H
#define STORE_PUBLISH_H

#include <stdbool.h>

#include <qcow2.h>

#include "store/hold.h"

struct publish {
	struct qcow2_store *store; /* one reference, owned by this struct */
	struct qcow2_store *replaced; /* likewise; or NULL */
	struct store_hold hold;       /* of `store` */
	struct store_hold replaced_hold;
	char *final_path;
	char *temp_path;           /* NULL when in place */
	bool in_place;
};

/* flags: QCOW2_STORE_DIRECT.  An existing file's mode and, where permitted,
 * owner are kept; special files other than block devices are refused.  A file
 * that may not be written is not replaced either.  Nothing to release after a
 * failure. */
int publish_begin(struct publish *p, const char *path, unsigned flags,
		  struct qcow2_error *err);

/* What will be lost: the file that is replaced, or the one that is written in
 * place; NULL where there is none yet.  Borrowed. */
struct qcow2_store *publish_old(const struct publish *p);
/* Whether @path is, or will be, the file that @p makes: by any name. */
bool publish_leads_to(const struct publish *p, const char *path);

/* Either way the struct is released, and no temporary file is left.  @sync:
 * flush file and directory. */
int publish_commit(struct publish *p, bool sync, struct qcow2_error *err);
void publish_abort(struct publish *p);

#endif
