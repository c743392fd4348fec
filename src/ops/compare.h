/*
 * Do two disks read the same?
 */
#ifndef OPS_COMPARE_H
#define OPS_COMPARE_H

#include "chain/disk.h"

/* @opts: never NULL here; n_threads 0 is one per processor. */
int ops_compare(struct disk *a, struct disk *b,
		const struct qcow2_compare_opts *opts,
		struct qcow2_compare_result *result, struct qcow2_error *err);

#endif
