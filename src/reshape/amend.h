/*
 * Changing what an image is, while its disk stays the same.
 */
#ifndef RESHAPE_AMEND_H
#define RESHAPE_AMEND_H

#include <stdint.h>

#include <qcow2.h>

struct image;

/* How far a job is, told to the caller's function. */
struct amend_progress {
	qcow2_progress_fn *fn;
	void *opaque;
	uint64_t done;
	uint64_t total;
};

/* -ECANCELED when the caller wants to stop. */
int amend_progress_add(struct amend_progress *p, uint64_t n,
		       struct qcow2_error *err);

/* See qcow2_amend(); @opts is complete.  No request may be under way. */
int image_amend(struct image *img, const struct qcow2_amend_opts *opts,
		struct qcow2_error *err);

/* O24: to version 3, the snapshot table first; to version 2, the zero clusters
 * first.  The header is written last. */
int amend_upgrade(struct image *img, struct qcow2_error *err);
/* @disk_size: as it will be. */
int amend_check_downgrade(const struct image *img, uint64_t disk_size,
			  struct qcow2_error *err);
int amend_downgrade(struct image *img, struct amend_progress *p,
		    struct qcow2_error *err);

/* Replaces all zero clusters, of the disk and of every snapshot, by what
 * version 2 has for them. */
int amend_expand_zeros(struct image *img, struct amend_progress *p,
		       struct qcow2_error *err);

/* O25: new refcounts of 1 << @order bits, then the header sector, then the old
 * ones are free. */
int amend_refcount_order(struct image *img, uint32_t order,
			 struct amend_progress *p, struct qcow2_error *err);

#endif
