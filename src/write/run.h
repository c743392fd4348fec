/*
 * A run of clusters that a write gives a new place: place, data, link.
 *
 * The place is allocated for what a look found; the data, with what must be
 * copied around it, goes out in one vectored write; the link changes the
 * entries in memory and frees what they replace.  The clusters are in flight
 * for the caller through all three, so that nobody comes between the steps.
 */
#ifndef WRITE_RUN_H
#define WRITE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/iov.h"
#include "write/alloc.h"
#include "write/look.h"

struct run {
	const struct look *was; /* what the clusters were; NEW */
	uint64_t guest_off;     /* of the first cluster */
	uint64_t n_clusters;    /* no more than were looked at */
	uint64_t data_off;      /* guest range that the caller writes */
	uint64_t data_len;
	struct allocation a;
	bool owns; /* a.claim is new and must go back on failure */
};

/* Finds a place for all of the clusters in @was, without waiting; -EAGAIN when
 * that takes run_place(), or when bytes around the data must be written too. */
int run_place_at_once(struct image *img, const struct look *was, struct run *r,
		      struct qcow2_error *err);
/* Finds a place for as many of the clusters in @was as lie together. */
int run_place(struct image *img, const struct look *was, struct run *r,
	      struct qcow2_error *err);
/* Gives it back. */
void run_cancel(struct image *img, const struct run *r);

/* Of the first byte that the caller writes. */
uint64_t run_data_host_off(const struct run *r);

/* O1, O2, O6, O8: whether the entries must follow data and refcounts. */
bool run_needs_order(const struct image *img, const struct run *r);

/* Points the entries to it.  @ordered: not before data and refcounts are
 * durable.  flags: with QCOW2_NOWAIT -EAGAIN rather than wait for the slice. */
int run_link(struct image *img, const struct run *r, bool ordered,
	     unsigned flags, struct qcow2_error *err);

/* All three for the next bytes of @src, as far as @was reaches, or less: *done.
 * There is an L2 table of our own. */
int run_write(struct image *img, struct iov_cursor *src, const struct look *was,
	      uint64_t *done, struct qcow2_error *err);

#endif
