/*
 * L2 tables to which several entries of one L1 table point, and tables in holes
 * of a sparse file.
 *
 * No writer is known that makes them, but the format allows them, and a file of
 * a few MiB can so describe petabytes: an L1 table has room for four million
 * entries, and all of them may name the same L2 table.  A walk over a whole
 * disk would take a time that the size of the file does not bound.
 *
 * So every walk must ask first.  Repeated tables are read once.  Those that say
 * the same of all their clusters, and point nowhere, can be passed over in one
 * step from then on; going through the others again is counted, and more than
 * REPEATED_STEPS_MAX such steps are refused.
 *
 * A table in a hole takes no space, so there may be any number of them; they
 * are all zeros, and passed over unread.  If there are few tables they are just
 * read.
 */
#ifndef IMAGE_REPEATS_H
#define IMAGE_REPEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "format/geometry.h"
#include "format/l2.h"

struct repeated_table {
	uint64_t host_off;
	uint64_t n_refs; /* L1 entries that point to it */
	/* Of all its clusters: UNALLOCATED_PLAIN or ZERO_PLAIN. */
	enum subcluster_kind kind;
};

struct hole {
	uint64_t off;
	uint64_t end;
};

struct repeats {
	struct repeated_table *list; /* that can be passed over; by host_off */
	size_t n;
	struct hole *holes; /* by offset; they do not overlap */
	size_t n_holes;
	uint64_t n_steps; /* of going through all of them again */
};

/* It does not change after repeats_find().  Of long lists it looks at the first
 * entries. */
VALIDATOR(repeats);

/* The place of the tables. */
struct repeats_source {
	const struct geometry *geo;
	struct qcow2_store *file;
	uint64_t file_end;
	/* Tables may change between the look and the walk: none is passed
	 * over. */
	bool changing;
	/* Tables in holes are passed over.  Must be false when references are
	 * counted from the walk: some file systems have reported a hole where
	 * data was on its way. */
	bool trust_holes;
};

/*
 * @offs: host offsets of L2 tables, one for each L1 entry in use; they are
 * sorted if need be.  A table that cannot be read counts one step: the walk
 * will meet the error.  Stops counting, with n_steps above the limit, when so
 * many tables are repeated that reading them takes too long.
 */
int repeats_find(struct repeats *r, const struct repeats_source *src,
		 uint64_t *offs, size_t n, struct qcow2_error *err);
void repeats_release(struct repeats *r);

/* -E2BIG when going through the repeated tables takes too many steps. */
int repeats_check(const struct repeats *r, struct qcow2_error *err);

/* False when no table can be passed over. */
static inline bool repeats_any(const struct repeats *r)
{
	return r->n || r->n_holes;
}

/* True when all clusters of the table at @host_off are of one kind that points
 * nowhere. */
bool repeats_uniform(const struct repeats *r, const struct geometry *g,
		     uint64_t host_off, enum subcluster_kind *kind);

#endif
