#include "ops/fill_impl.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"

/* So much is shared at a time: for progress, and so that it has its places
 * soon. */
#define SHARE_BYTES_MAX (32 * 1024 * 1024)

int fill_share_init(struct fill *f, const struct qcow2_convert_opts *opts,
		    struct qcow2_error *err)
{
	uint32_t n = disk_layer_count(f->src);

	if (!f->is_new || f->compress ||
	    (opts->flags & QCOW2_CONVERT_NO_REFLINK) ||
	    f->sparse_bytes == QCOW2_CONVERT_NOT_SPARSE)
		return 0;
	f->share.layers = calloc(n, sizeof(*f->share.layers));
	if (!f->share.layers)
		return error_nomem(err, "a list of layers", n);
	for (uint32_t i = 0; i < n; i++) {
		struct qcow2_extent any = {
			.flags = QCOW2_EXTENT_DATA | QCOW2_EXTENT_HOST_OFF,
			.depth = i,
		};
		struct qcow2_store *store = disk_extent_store(f->src, &any);

		f->share.layers[i] = store &&
				     offload_works(store,
						   disk_place_store(f->dst),
						   &f->share.block_bytes) &&
				     f->unit % f->share.block_bytes == 0;
	}
	return 0;
}

uint64_t fill_share_len(const struct fill *f, const struct qcow2_extent *x)
{
	uint64_t len = align_down(min_u64(x->len, SHARE_BYTES_MAX), f->unit);

	if (!f->share.layers || !f->share.layers[x->depth] ||
	    len < OFFLOAD_BYTES_MIN || !disk_extent_store(f->src, x) ||
	    x->host_off % f->share.block_bytes)
		return 0;
	return len;
}

static int copy(struct fill *f, struct fill_room *r, const struct placed *p,
		struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t done = 0, n; rc == 0 && done < p->len; done += n) {
		struct iovec iov = { .iov_base = r->plain };

		n = min_u64(p->len - done, f->window_bytes);
		iov.iov_len = (size_t)n;
		rc = disk_pread(f->src, r->plain, (size_t)n, p->off + done, 0,
				err);
		if (rc == 0)
			rc = disk_write_placed(f->dst, &iov, 1,
					       p->host_off + done, err);
	}
	return rc;
}

int fill_share_placed(struct fill *f, struct fill_room *r,
		      struct qcow2_error *err)
{
	struct qcow2_store *from = disk_extent_store(f->src, &r->shared);
	struct qcow2_store *to = disk_place_store(f->dst);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->n_placed; i++) {
		const struct placed *p = &r->placed[i];
		uint64_t at = r->shared.host_off + (p->off - r->shared.off);

		/* If sharing is refused after all, a copy succeeds or returns
		 * the cause. */
		if (!offload_clone(from, at, p->len, to, p->host_off))
			rc = copy(f, r, p, err);
	}
	return rc;
}
