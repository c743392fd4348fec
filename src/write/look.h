/*
 * One look at the entries that a write meets: those from a guest offset on,
 * checked and classified, as far as one step of the write can treat them alike.
 *
 * Only the request that has the range in flight changes the entries of its
 * clusters, and a change takes whole clusters.  So a look stays true as long as
 * the caller has any range in flight that touches all the bytes that were
 * looked at, or is the only writer.
 */
#ifndef WRITE_LOOK_H
#define WRITE_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "write/entry.h"

struct image;

enum look_kind {
	LOOK_IN_PLACE, /* data that can be overwritten where it is, with one
			* write: nobody else has its host clusters */
	LOOK_NEW,      /* clusters that need a new place, or new flags */
	LOOK_NO_TABLE, /* there is no L2 table yet, so nothing is there */
};

struct look {
	enum look_kind kind;
	uint64_t off;      /* guest offset of the first byte */
	uint64_t len;      /* bytes of this kind: at least one */
	uint64_t host_off; /* IN_PLACE: of the first byte */

	/* NEW: the clusters that these bytes touch. */
	uint64_t n_clusters;
	uint64_t n_fresh; /* so many at the beginning have empty entries */
	bool reads_zero;  /* all of them read as zeros */
	struct entry_plan first;
	struct entry_plan last;
};

/*
 * Looks at up to @len bytes (not 0) from @off on.  A bad entry at @off is -EIO,
 * and the corrupt bit is durable then; one further on ends the look, and is
 * reported when it is reached.  A cluster that keeps its place and only changes
 * its flags is looked at alone.
 *
 * flags: with QCOW2_NOWAIT -EAGAIN rather than wait for the L2 slice.
 */
int look_at(struct image *img, uint64_t len, uint64_t off, unsigned flags,
	    struct look *out, struct qcow2_error *err);

#endif
