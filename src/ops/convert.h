/*
 * A disk copied out to raw.
 */
#ifndef OPS_CONVERT_H
#define OPS_CONVERT_H

#include "chain/disk.h"

/* @how: PUBLISH_*. */
int ops_convert_raw(struct disk *src, const char *path,
		    const struct qcow2_convert_opts *opts, unsigned how,
		    struct qcow2_error *err);

/* Holds @target for writing meanwhile. */
int ops_convert_raw_store(struct disk *src, struct qcow2_store *target,
			  const struct qcow2_convert_opts *opts,
			  struct qcow2_error *err);

#endif
