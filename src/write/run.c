#include "write/run.h"

#include <assert.h>
#include <errno.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/iov.h"
#include "base/memory.h"
#include "image/image.h"
#include "store/store.h"
#include "write/overlap.h"
#include "write/writer.h"

enum {
	/* If no more data than this lies between the bytes that are copied on
	 * both sides, one read fetches all of it: another access costs more
	 * than the bytes. */
	READ_THROUGH_MAX = 16 * 1024,
};

static uint64_t run_guest_end(const struct image *img, const struct run *r)
{
	return r->guest_off + (r->n_clusters << img->geo.cluster_bits);
}

/* ---- Place --------------------------------------------------------------- */

/* Returns the place that the clusters have already. */
static uint64_t known_place(const struct run *r)
{
	return r->was->first.keeps_host ? l2_host_off(r->was->first.old)
					: r->guest_off;
}

/* The run has new clusters: asks the guard about them.  It was asked about the
 * cluster of an entry when the entry was looked at. */
static int own_place(struct image *img, struct run *r, struct qcow2_error *err)
{
	int rc;

	r->owns = true;
	r->n_clusters = r->a.claim.n_clusters;
	rc = overlap_check(img, r->n_clusters << img->geo.cluster_bits,
			   r->a.claim.host_off, err);
	if (rc < 0)
		run_cancel(img, r);
	return rc;
}

static int claim_place(struct image *img, struct run *r, unsigned flags,
		       struct qcow2_error *err)
{
	struct alloc *a = &img->writer->alloc;
	int rc = 0;

	if (!(flags & QCOW2_NOWAIT))
		rc = alloc_clusters(a, r->n_clusters, &r->a, err);
	else if (!alloc_try(a, r->n_clusters, &r->a))
		rc = error_set(err, -EAGAIN,
			       "new clusters may have to wait for the disk");
	return rc < 0 ? rc : own_place(img, r, err);
}

static void run_init(const struct image *img, const struct look *was,
		     struct run *r)
{
	assert(was->kind == LOOK_NEW);
	*r = (struct run){ .was = was,
			   .guest_off =
				   align_down(was->off, img->geo.cluster_size),
			   .n_clusters = was->n_clusters,
			   .data_off = was->off,
			   .data_len = was->len };
}

static int run_find_place(struct image *img, struct run *r, unsigned flags,
			  struct qcow2_error *err)
{
	const struct look *was = r->was;
	int rc = 0;

	if (was->first.keeps_host || img->geo.has_data_file) {
		r->a.claim = (struct claim){ .host_off = known_place(r),
					     .n_clusters = r->n_clusters };
		r->a.durable = true;
	} else {
		rc = claim_place(img, r, flags, err);
	}
	r->data_len = min_u64(was->len, run_guest_end(img, r) - r->data_off);
	return rc;
}

int run_place(struct image *img, const struct look *was, struct run *r,
	      struct qcow2_error *err)
{
	run_init(img, was, r);
	return run_find_place(img, r, 0, err);
}

void run_cancel(struct image *img, const struct run *r)
{
	if (r->owns)
		refcounts_unclaim(&img->writer->refs, &r->a.claim);
}

/* ---- Data ---------------------------------------------------------------- */

static int read_old_extent(struct image *img, struct iov_cursor *dst,
			   const struct image_extent *x, uint64_t off,
			   struct qcow2_error *err)
{
	const struct below *below = &img->writer->below;
	uint64_t here = 0;
	int rc = 0;

	if (x->kind != SUBCLUSTER_UNALLOCATED_PLAIN &&
	    x->kind != SUBCLUSTER_UNALLOCATED_ALLOC)
		return image_read(img, dst, x->len, off, x, 0, err);
	if (!entry_below_is_zero(img, off)) {
		here = min_u64(x->len, below->size - off);
		rc = below->read(below->opaque, dst, here, off, err);
	}
	iov_zero(dst, x->len - here);
	return rc;
}

static int read_old_extents(struct image *img, struct iov_cursor *dst,
			    uint64_t len, uint64_t off, struct qcow2_error *err)
{
	while (len) {
		struct image_extent x;
		int rc = image_map(img, len, off, 0, &x, err);

		if (rc == 0)
			rc = read_old_extent(img, dst, &x, off, err);
		if (rc < 0)
			return rc;
		len -= x.len;
		off += x.len;
	}
	return 0;
}

/* The old contents around the data; zeros past the end of the disk. */
static int read_old(struct image *img, uint64_t len, uint64_t off, uint8_t *dst,
		    struct qcow2_error *err)
{
	struct iovec iov = { dst, to_size(len) };
	struct iov_cursor cursor = iov_cursor_init(&iov, 1);
	uint64_t inside = off < img->virtual_size
				  ? min_u64(len, img->virtual_size - off)
				  : 0;
	int rc = inside ? read_old_extents(img, &cursor, inside, off, err) : 0;

	iov_zero(&cursor, len - inside);
	return rc;
}

/* Guest ranges around the data that have to be written with it. */
struct around {
	uint64_t head_off;
	uint64_t head_len;
	uint64_t tail_len;
	uint64_t gap_len; /* between them when both are read at once */
};

static struct around around_of(const struct image *img, const struct run *r)
{
	const struct look *was = r->was;
	uint64_t data_end = r->data_off + r->data_len;
	struct around a = { .head_off = r->data_off };

	/* Untouched clusters read as the zeros that are wanted. */
	if (was->reads_zero && r->a.claim.reads_zero)
		return a;
	a.head_off = entry_copy_begin(img, &was->first, r->data_off);
	a.head_len = r->data_off - a.head_off;
	/* Otherwise the data may go on behind the run. */
	if (data_end < run_guest_end(img, r))
		a.tail_len =
			entry_copy_end(img, &was->last, data_end) - data_end;
	if (a.head_len && a.tail_len && r->data_len <= READ_THROUGH_MAX)
		a.gap_len = r->data_len;
	return a;
}

/* The old contents of head and tail, and of the clusters between them as well
 * if there is a gap; bytes that are overwritten need not be readable,
 * though. */
static int read_around(struct image *img, const struct run *r,
		       const struct around *a, uint8_t *copy,
		       struct qcow2_error *err)
{
	uint64_t data_end = r->data_off + r->data_len;
	uint8_t *tail = copy + a->head_len + a->gap_len;
	int rc = 0;

	if (a->gap_len && read_old(img, a->head_len + a->gap_len + a->tail_len,
				   a->head_off, copy, NULL) == 0)
		return 0;
	if (a->head_len)
		rc = read_old(img, a->head_len, a->head_off, copy, err);
	if (rc == 0 && a->tail_len)
		rc = read_old(img, a->tail_len, data_end, tail, err);
	return rc;
}

/* One vector of head, data and tail, as far as IOV_COUNT segments reach; the
 * data that does not fit follows by itself. */
static int write_around(struct image *img, struct iov_cursor *src,
			const struct run *r, const struct around *a,
			uint8_t *copy, struct qcow2_error *err)
{
	struct iovec iov[IOV_COUNT];
	uint64_t host = r->a.claim.host_off + (a->head_off - r->guest_off);
	uint64_t left = r->data_len;
	int first = a->head_len ? 1 : 0;
	int n;

	iov[0] = (struct iovec){ copy, to_size(a->head_len) };
	while (left) {
		uint64_t part = iov_take(src, left, iov + first,
					 IOV_COUNT - 1 - first, &n);
		uint64_t bytes = part + (first ? a->head_len : 0);
		int rc;

		n += first;
		left -= part;
		if (left == 0 && a->tail_len) {
			iov[n++] =
				(struct iovec){ copy + a->head_len + a->gap_len,
						to_size(a->tail_len) };
			bytes += a->tail_len;
		}
		rc = store_pwritev(img->data, iov, n, host, 0, err);
		if (rc < 0)
			return rc;
		host += bytes;
		first = 0;
	}
	return 0;
}

static bool needs_copy(const struct image *img, const struct run *r)
{
	struct around a = around_of(img, r);

	return a.head_len || a.tail_len;
}

/* A place that reads as zeros is the best that can be hoped for: if that does
 * not do, no cluster is claimed in vain. */
int run_place_at_once(struct image *img, const struct look *was, struct run *r,
		      struct qcow2_error *err)
{
	int rc;

	run_init(img, was, r);
	r->a.claim.reads_zero = true;
	if (needs_copy(img, r))
		return error_set(err, -EAGAIN, "old data has to be copied");
	rc = run_find_place(img, r, QCOW2_NOWAIT, err);
	if (rc < 0 || !needs_copy(img, r))
		return rc;
	run_cancel(img, r);
	return error_set(err, -EAGAIN, "zeros have to be written around");
}

uint64_t run_data_host_off(const struct run *r)
{
	return r->a.claim.host_off + (r->data_off - r->guest_off);
}

static int write_data(struct image *img, struct iov_cursor *src,
		      const struct run *r, struct qcow2_error *err)
{
	struct around a = around_of(img, r);
	uint64_t len = a.head_len + a.gap_len + a.tail_len;
	CLEANUP_FREE uint8_t *copy = NULL;
	int rc = 0;

	if (len) {
		copy = alloc_bytes(len);
		if (!copy)
			return error_nomem(err, "copy-on-write", len);
		rc = read_around(img, r, &a, copy, err);
	}
	if (rc == 0)
		rc = write_around(img, src, r, &a, copy, err);
	if (rc == 0 && len)
		atomic_fetch_add_explicit(&img->writer->copied_bytes,
					  a.head_len + a.tail_len,
					  memory_order_relaxed);
	return rc;
}

/* ---- Link ---------------------------------------------------------------- */

/* Unless every state in between shows the zeros that were there before. */
bool run_needs_order(const struct image *img, const struct run *r)
{
	return !(r->was->reads_zero && r->a.claim.reads_zero && r->a.durable &&
		 !img->geo.has_data_file);
}

int run_link(struct image *img, const struct run *r, bool ordered,
	     unsigned flags, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct commit *c = &img->writer->commit;
	struct map_window w;
	int rc = map_window_get(&img->map, run_guest_end(img, r), r->guest_off,
				store_nowait(flags), &w, err);

	if (rc < 0)
		return rc;
	rc = commit_begin(c, r->n_clusters * ENTRY_FREED_MAX, err);
	for (uint64_t i = 0; rc == 0 && i < r->n_clusters; i++) {
		uint64_t at = r->guest_off + (i << g->cluster_bits);
		struct l2_entry old = map_window_entry(&w, g, i);
		struct entry_plan p;

		entry_plan_init(img, &p, old, at);
		commit_set_l2(
			c, w.slice, w.first + i,
			entry_new(img, &p,
				  r->a.claim.host_off + (i << g->cluster_bits),
				  r->data_off, r->data_len));
		if (!p.keeps_host)
			entry_free(img, old, img->writer->policy.other);
	}
	if (rc == 0) {
		if (ordered)
			commit_order(c);
		commit_end(c);
	}
	map_window_put(&img->map, &w);
	return rc;
}

int run_write(struct image *img, struct iov_cursor *src, const struct look *was,
	      uint64_t *done, struct qcow2_error *err)
{
	struct run r;
	int rc = run_place(img, was, &r, err);

	if (rc < 0)
		return rc;
	rc = write_data(img, src, &r, err);
	if (rc == 0)
		rc = run_link(img, &r, run_needs_order(img, &r), 0, err);
	if (rc < 0)
		run_cancel(img, &r);
	*done = r.data_len;
	return rc;
}
