/*
 * The place of a new file that is made at a path.
 *
 * A new file appears under its name only when it is complete: publish_begin()
 * makes one without a name, or a temporary one, in the directory of @path
 * (after following symlinks, so that the link stays and its target is
 * replaced); publish_commit() flushes it, gives it its name and flushes the
 * directory; publish_abort() removes it.  Nothing is left of a program that is
 * killed.
 *
 * An old file is replaced if it can be, and if the new file can have all that
 * the old one has besides its contents.  Otherwise, and if it is a block device
 * or a descriptor (/proc/self/fd/N, /dev/stdout), it is written in place: the
 * store is the old file, and `in_place` says why.
 *
 * The store is locked for writing, and so is the file that will be replaced: an
 * image that another program has open is refused with -EBUSY, as if it were to
 * be overwritten in place.  On a host without locks nobody is asked.
 *
 * No other file is replaced: one that got the name since publish_begin() stays,
 * and publish_commit() fails with -EEXIST.
 */
#ifndef STORE_PUBLISH_H
#define STORE_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "store/hold.h"

#define PUBLISH_DIRECT 0x1u    /* O_DIRECT */
#define PUBLISH_EXCL 0x2u      /* -EEXIST rather than replace or write over */
#define PUBLISH_IN_PLACE 0x4u  /* never replace */
#define PUBLISH_REPLACE 0x8u   /* replace or fail, whatever is lost */
#define PUBLISH_NO_FLUSH 0x10u /* the store's flushes do nothing */

struct publish_opts {
	unsigned flags; /* PUBLISH_* */
	/* For replacing both files need room.  No more than bytes_max bytes
	 * will be written; if that is too much, count() says how many they
	 * are.  NULL: bytes_max. */
	uint64_t bytes_max;
	uint64_t (*count)(void *opaque);
	void *opaque;
	/* Filled before publish_begin() returns; NULL: not asked for. */
	struct qcow2_placement *placement;
};

struct publish {
	struct qcow2_store *store;    /* one reference, owned by this struct */
	struct qcow2_store *replaced; /* likewise; or NULL */
	struct store_hold hold;       /* of `store` */
	struct store_hold replaced_hold;
	char *final_path;
	char *temp_path;   /* NULL when there is none */
	uint32_t in_place; /* QCOW2_IN_PLACE_* */
};

/* From publish_begin() on, until it is committed or aborted. */
VALIDATOR(publish);

/* Special files other than block devices are refused, and so is a file that may
 * not be written.  Nothing to release after a failure. */
int publish_begin(struct publish *p, const char *path,
		  const struct publish_opts *opts, struct qcow2_error *err);

/* Returns the file that will be lost: the one that is replaced, or written in
 * place; NULL if there is none yet.  Borrowed. */
struct qcow2_store *publish_old(const struct publish *p);
/* Whether @path is, or will be, the file that @p makes: by any name. */
bool publish_leads_to(const struct publish *p, const char *path);

/* Either way the struct is released, and no temporary file is left.  @sync:
 * flush file and directory.  If @hold is not NULL it takes over the hold of the
 * store, without a moment in which nobody has it; after a failure it holds
 * nothing. */
int publish_commit(struct publish *p, bool sync, struct store_hold *hold,
		   struct qcow2_error *err);
void publish_abort(struct publish *p);

#endif
