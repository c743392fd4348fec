/*
 * The parts of a qcow2 layer's table of operations.
 */
#ifndef CHAIN_QCOW2_LAYER_H
#define CHAIN_QCOW2_LAYER_H

#include "chain/layer.h"

extern const struct layer_write_ops qcow2_layer_write_ops;
extern const struct layer_encode_ops qcow2_layer_encode_ops;
extern const struct layer_place_ops qcow2_layer_place_ops;
extern const struct layer_snapshot_ops qcow2_layer_snapshot_ops;

int qcow2_layer_resize(struct layer *l, uint64_t size,
		       const struct qcow2_resize_opts *opts,
		       struct qcow2_error *err);
int qcow2_layer_amend(struct layer *l, const struct qcow2_amend_opts *opts,
		      struct qcow2_error *err);
int qcow2_layer_compact(struct layer *l, const struct qcow2_compact_opts *opts,
			struct qcow2_compact_result *result,
			struct qcow2_error *err);

#endif
