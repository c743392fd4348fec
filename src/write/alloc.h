/*
 * Chooses the host clusters of a writer.
 *
 * Clusters are claimed ahead in runs, so that a steady stream of small writes
 * finds its refcounts already durable, and sequential writers get neighbours.
 * A second run is claimed while the first is still in use: it becomes durable
 * with a commit that happens anyway.  Runs begin with one cluster and grow with
 * the amount written.  Unused clusters are given back at close; after a crash
 * they are a leak, bounded by the runs, and by about the amount written.
 *
 * Locks: alloc.lock is taken with nothing of counts/ and commit/ held and holds
 * nothing while clusters are claimed.
 */
#ifndef WRITE_ALLOC_H
#define WRITE_ALLOC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "commit/commit.h"
#include "counts/refcounts.h"

enum { ALLOC_RUNS = 2 };

struct alloc_run {
	struct claim claim;  /* what is left of it */
	uint64_t generation; /* see commit_generation() */
};

struct alloc {
	struct refcounts *refs;
	struct commit *commit;
	uint64_t ahead;       /* clusters in a run, at most */
	pthread_mutex_t lock; /* protects what follows */
	uint64_t window;      /* clusters in the next run: as many as were
				 * used so far */
	struct alloc_run runs[ALLOC_RUNS]; /* used in order */
};

/* The caller must hold a->lock, or have the image to itself. */
VALIDATOR(alloc);

void alloc_init(struct alloc *a, struct refcounts *refs, struct commit *commit);

/* Gives back what was claimed ahead. */
void alloc_give_back(struct alloc *a);
/* The same, and it is not used any more. */
void alloc_release(struct alloc *a);

/* Up to @want clusters in a row: at least one.  out->durable says that their
 * refcounts, and the size of the file that reaches to them, survive a crash
 * already; with lazy refcounts the size alone. */
struct allocation {
	struct claim claim;
	bool durable;
};

int alloc_clusters(struct alloc *a, uint64_t want, struct allocation *out,
		   struct qcow2_error *err);

/* The same without waiting: exactly @want clusters, of those that were claimed
 * ahead.  False when there are not so many in a row: alloc_clusters() claims
 * more. */
bool alloc_try(struct alloc *a, uint64_t want, struct allocation *out);

#endif
