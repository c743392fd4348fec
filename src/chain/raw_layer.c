/*
 * A raw file as a layer: its bytes are the disk's, and it is always the last.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "chain/carry.h"
#include "chain/layer.h"
#include "format/limits.h"
#include "reshape/resize.h"

static int raw_layer_open(struct layer *l, const struct layer_opening *o,
			  struct qcow2_error *err)
{
	uint64_t size_max = o->opts->budget.virtual_bytes;
	uint64_t size = 0;
	int rc;

	l->data = l->store;
	l->cluster_size = UINT32_C(1) << CLUSTER_BITS_DEFAULT;
	if (o->depth == 0 && o->opts->snapshot)
		return error_set(err, -EINVAL,
				 "%s: a raw image has no snapshots",
				 TEXT(store_name(l->store),
				      strlen(store_name(l->store))));
	rc = store_size(l->store, &size, err);
	if (rc == 0 && size_max && size > size_max)
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "%s is larger than the budget allows",
				    TEXT(store_name(l->store),
					 strlen(store_name(l->store))));
	l->size = size;
	return rc;
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
	return store_read_cursor(l->store, dst, len, off, store_nowait(flags),
				 err);
}

static int raw_layer_begin_read(struct layer *l, uint64_t len, uint64_t off,
				struct carried *c, struct qcow2_error *err)
{
	(void)len, (void)off, (void)err;
	c->transfer.store = l->store;
	return 0;
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

static void raw_layer_get_stats(const struct layer *l, struct qcow2_stats *out)
{
	store_get_stats(l->store, &out->file);
}

static void raw_layer_validate(const struct layer *l)
{
	assert(l->data && !l->has_data_file);
	assert(!l->image && !l->data_hold.store);
}

/* ---- Changes ------------------------------------------------------------- */

static int raw_layer_flush(struct layer *l, struct qcow2_error *err)
{
	int rc = store_flush(l->store, err);

	if (rc < 0)
		l->lost = true;
	return rc;
}

/* Makes the change durable if @flags ask for it. */
static int raw_layer_finish(struct layer *l, int rc, unsigned flags,
			    struct qcow2_error *err)
{
	return rc == 0 && (flags & QCOW2_FUA) ? raw_layer_flush(l, err) : rc;
}

static int raw_layer_pwritev(struct layer *l, const struct iovec *iov,
			     int iovcnt, uint64_t off, unsigned flags,
			     struct qcow2_error *err)
{
	int rc = store_pwritev(l->store, iov, iovcnt, off, store_nowait(flags),
			       err);

	return raw_layer_finish(l, rc, flags, err);
}

static int raw_layer_zero(struct layer *l, uint64_t len, uint64_t off,
			  unsigned flags, struct qcow2_error *err)
{
	int rc = store_zero(l->store, len, off, store_zero_flags(flags), err);

	return raw_layer_finish(l, rc, flags, err);
}

static int raw_layer_discard(struct layer *l, uint64_t len, uint64_t off,
			     unsigned flags, struct qcow2_error *err)
{
	/* Without a map there is nothing to remember: giving space back is all
	 * that a discard can do, and need not do. */
	store_zero(l->store, len, off,
		   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK, NULL);
	return raw_layer_finish(l, 0, flags, err);
}

static int raw_layer_recover(struct layer *l, struct qcow2_error *err)
{
	if (l->lost || raw_layer_flush(l, NULL) < 0)
		return error_lost(err);
	return 0;
}

static int check_resize(const struct layer *l, uint64_t size,
			const struct qcow2_resize_opts *opts,
			struct qcow2_error *err)
{
	int rc;

	if (size > (uint64_t)INT64_MAX)
		return error_set(err, -EFBIG, "the new size is beyond 8 EiB");
	rc = resize_check_opts(opts, size, l->size, err);
	if (rc == 0 && opts->preallocation == QCOW2_PREALLOC_METADATA)
		rc = error_set(err, -ENOTSUP,
			       "a raw image has no metadata to preallocate");
	return rc;
}

static int raw_layer_resize(struct layer *l, uint64_t size,
			    const struct qcow2_resize_opts *opts,
			    struct qcow2_error *err)
{
	int rc = check_resize(l, size, opts, err);

	if (rc == 0)
		rc = store_truncate(l->store, size, err);
	if (rc == 0 && size > l->size &&
	    opts->preallocation != QCOW2_PREALLOC_OFF) {
		rc = resize_preallocate(l->store, size, l->size, opts, err);
		if (rc < 0)
			store_truncate(l->store, l->size, NULL);
	}
	if (rc == 0)
		rc = raw_layer_flush(l, err);
	if (rc == 0)
		l->size = size;
	return rc;
}

static const struct layer_write_ops raw_layer_write_ops = {
	.pwritev = raw_layer_pwritev,
	.zero = raw_layer_zero,
	.discard = raw_layer_discard,
	.flush = raw_layer_flush,
	.recover = raw_layer_recover,
	.resize = raw_layer_resize,
};

static const struct layer_watch_ops raw_layer_watch_ops = {
	.get_stats = raw_layer_get_stats,
};

const struct layer_ops raw_layer_ops = {
	.format = QCOW2_FORMAT_RAW,
	.name = "raw",
	.open = raw_layer_open,
	.map = raw_layer_map,
	.read = raw_layer_read,
	.begin_read = raw_layer_begin_read,
	.get_info = raw_layer_get_info,
	.watch = &raw_layer_watch_ops,
	.validate = raw_layer_validate,
	.write = &raw_layer_write_ops,
};
