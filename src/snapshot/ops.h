/*
 * Creating, applying and deleting internal snapshots (O16, O17, O18).
 *
 * One at a time; writers wait meanwhile, readers go on.  Applying wants the
 * image for itself.
 */
#ifndef SNAPSHOT_OPS_H
#define SNAPSHOT_OPS_H

#include <stdint.h>

#include <qcow2.h>

#include "write/inflight.h"

struct image;
struct snapshot_info;

/* @opts is complete, never NULL. */
int image_snapshot_create(struct image *img, const char *name,
			  const struct qcow2_snapshot_opts *opts,
			  struct qcow2_error *err);
int image_snapshot_apply(struct image *img, const char *id_or_name,
			 struct qcow2_error *err);
int image_snapshot_delete(struct image *img, const char *id_or_name,
			  struct qcow2_error *err);

/* ---- What the three have in common --------------------------------------- */

/* Keeps other snapshot operations and all writers out, and makes everything
 * durable; snapshot_end() has to follow even when it fails. */
int snapshot_begin(struct image *img, struct inflight_freeze *freeze,
		   struct qcow2_error *err);
void snapshot_end(struct image *img, struct inflight_freeze *freeze);

int snapshot_refuse_data_file(struct qcow2_error *err);

/* The snapshot's index in the list; -ENOENT. */
int snapshot_index(const struct image *img, const char *id_or_name,
		   uint32_t *index, struct qcow2_error *err);

/* -EINVAL with the defect when the snapshot's L1 table cannot be read. */
int snapshot_check_l1(const struct image *img, const struct snapshot_info *s,
		      struct qcow2_error *err);

#endif
