/*
 * A raw file as a layer: its bytes are the disk's, and it is always the last.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "chain/layer.h"
#include "format/limits.h"

static int raw_layer_open(struct layer *l, const struct layer_opening *o,
			  struct qcow2_error *err)
{
	uint64_t size_max = o->opts->budget.virtual_bytes;

	l->data = l->store;
	l->cluster_size = UINT32_C(1) << CLUSTER_BITS_DEFAULT;
	if (o->depth == 0 && o->opts->snapshot)
		return error_set(err, -EINVAL,
				 "%s: a raw image has no snapshots",
				 TEXT(store_name(l->store),
				      strlen(store_name(l->store))));
	if (size_max && store_size(l->store, &l->size, NULL) == 0 &&
	    l->size > size_max)
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "%s is larger than the budget allows",
				    TEXT(store_name(l->store),
					 strlen(store_name(l->store))));
	return store_size(l->store, &l->size, err);
}

static int raw_layer_map(struct layer *l, uint64_t len, uint64_t off,
			 struct qcow2_extent *out, struct qcow2_error *err)
{
	bool is_data;
	int rc = store_extent(l->store, &len, off, &is_data, err);

	if (rc < 0)
		return rc;
	*out = (struct qcow2_extent){
		.off = off,
		.len = len,
		.host_off = off,
		.flags = QCOW2_EXTENT_PRESENT | QCOW2_EXTENT_HOST_OFF |
			 (is_data ? QCOW2_EXTENT_DATA : QCOW2_EXTENT_ZERO),
	};
	return 0;
}

static int raw_layer_read(struct layer *l, struct iov_cursor *dst, uint64_t len,
			  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	unsigned store_flags = flags & QCOW2_NOWAIT ? QCOW2_STORE_NOWAIT : 0;

	return store_read_cursor(l->store, dst, len, off, store_flags, err);
}

static void raw_layer_get_info(struct layer *l, struct qcow2_info *out)
{
	out->format = QCOW2_FORMAT_RAW;
	out->virtual_size = l->size;
	if (store_size(l->store, &out->file_size, NULL) < 0)
		out->file_size = l->size;
	if (store_allocated(l->store, &out->allocated_bytes, NULL) < 0)
		out->allocated_bytes = l->size;
	out->self_contained = 1;
	out->unlocked = store_is_unlocked(l->store);
	out->filename = store_name(l->store);
}

const struct layer_ops raw_layer_ops = {
	.format = QCOW2_FORMAT_RAW,
	.name = "raw",
	.open = raw_layer_open,
	.map = raw_layer_map,
	.read = raw_layer_read,
	.get_info = raw_layer_get_info,
};
