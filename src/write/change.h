/*
 * Changing the entries of whole clusters without writing data: the common part
 * of zeroing and discarding.
 */
#ifndef WRITE_CHANGE_H
#define WRITE_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "format/l2.h"

struct image;

/* The new state of one cluster. */
struct change {
	struct l2_entry entry; /* the new entry */
	bool skip;             /* leave it as it is */
	bool frees;            /* the old host clusters lose a reference */
	bool frees_space;      /* and their space goes back, whatever the
				 * policy says */
	bool punches;          /* they stay, without contents */
};

/* Decides about the cluster at @guest_off; pure. */
typedef struct change change_fn(const struct image *img, struct l2_entry old,
				uint64_t guest_off, unsigned flags);

/*
 * Applies @fn to the clusters of [off, end), both cluster aligned and in
 * flight.  O9, O10: entries first, then quarantine, space last; if the cluster
 * stays, the space goes first.
 */
int change_clusters(struct image *img, uint64_t end, uint64_t off,
		    change_fn *fn, unsigned flags, struct qcow2_error *err);

/* Changes the guest bytes [off, end), which are in flight. */
typedef int change_region_fn(struct image *img, uint64_t end, uint64_t off,
			     unsigned flags, struct qcow2_error *err);

/*
 * One request: applies @fn region by region, whole clusters in flight, commits
 * when much is dirty, and flushes for QCOW2_FUA.  -EAGAIN with QCOW2_NOWAIT
 * when an overlapping write is under way; -E2BIG when the request goes
 * through many tables and image_allow_walk() refuses.
 */
int change_regions(struct image *img, uint64_t end, uint64_t off,
		   change_region_fn *fn, unsigned flags,
		   struct qcow2_error *err);

#endif
