/*
 * Clusters that serve as guest data and as something else.
 *
 * The data gets a copy of the cluster for itself: the disk reads as it did, and
 * a write can no longer destroy what else is there.  One copy serves all
 * entries that pointed to the cluster, so that no image can be made to grow by
 * more than it has clusters.
 *
 * A table that itself lies in such a cluster may be somebody's data: its
 * entries are left alone, until the data has moved away.
 */
#ifndef REPAIR_COPIES_H
#define REPAIR_COPIES_H

#include <stddef.h>
#include <stdint.h>

#include "base/validate.h"
#include "repair/context.h"

struct cluster_copy {
	uint64_t from;    /* cluster index */
	uint64_t n_refs;  /* data entries that point here, each as often as
			      * its table is used */
	uint64_t n_own;   /* of these, entries of a table in this cluster */
	uint64_t n_moved; /* references that the copy will have */
	uint64_t to;      /* cluster index; 0: no copy */
};

struct copies {
	struct cluster_copy *all; /* by `from`; from the budget of the check */
	size_t n;
	size_t n_wanted;  /* copies that are made */
	uint64_t *counts; /* the refcount of each, in their order */
};

VALIDATOR(copies);

/* Finds what is to be copied in the image as r->c knows it. */
int copies_plan(struct repair *r, struct copies *copies,
		struct qcow2_error *err);
void copies_drop(struct repair *r, struct copies *copies);

/* Clusters that serve several purposes and stay where they are. */
size_t copies_left(const struct copies *copies);

/* Gives the copies their places from @cluster_idx on, one after the other. */
void copies_place(struct copies *copies, uint64_t cluster_idx);

/* Writes them; nothing points to them yet. */
int copies_write(struct repair *r, const struct copies *copies,
		 struct qcow2_error *err);

/* Points the entries to them.  The copies and their refcounts are durable. */
int copies_link(struct repair *r, const struct copies *copies,
		struct qcow2_error *err);

#endif
