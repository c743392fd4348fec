/*
 * The work of one commit, taken at one moment: the two phases of
 * docs/ordering.md and the clusters that the commit frees.
 *
 * One epoch is under way at a time.  When writing it has failed, everything it
 * took is as dirty as before.
 */
#ifndef COMMIT_EPOCH_H
#define COMMIT_EPOCH_H

#include "commit/commit.h"

struct epoch {
	struct writes refcounts;
	struct writes entries;
	struct freed_list freed;
	bool ordered;
	bool lagging; /* entries may come before the refcounts they need */
};

VALIDATOR(epoch);

/* Takes what is dirty, with commit.lock held.  Also after a failure the epoch
 * must be ended. */
int epoch_collect(struct commit *c, struct epoch *e, struct qcow2_error *err);
/* A barrier that fails poisons. */
int epoch_write(struct commit *c, struct epoch *e, struct qcow2_error *err);
/* @rc: the result of writing it. */
void epoch_end(struct commit *c, struct epoch *e, int rc);

#endif
