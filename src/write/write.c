/*
 * Guest writes: plan, data, link.
 *
 * A request is cut at the regions of the in-flight table.  In each region what
 * can be overwritten in place with one write is done so, as bytes.  Otherwise
 * the range is widened to whole clusters, so that no other writer comes between
 * the steps, and each run of new clusters goes through three: the plan looks up what is there and allocates; the data, with
 * what must be copied around it, goes out in one vectored write; the link
 * changes the entries and frees what they replace.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "format/fault_error.h"
#include "image/image.h"
#include "store/store.h"
#include "write/entry.h"
#include "write/features.h"
#include "write/overlap.h"
#include "write/tables.h"
#include "write/write.h"
#include "write/writer.h"

enum {
	IOV_COUNT = 64,
	/* So much data may lie between what is copied on both sides for one
	 * read to fetch all of it: another access costs more than the bytes. */
	READ_THROUGH_MAX = 16 * 1024,
};

/* ---- In place ------------------------------------------------------------ */

/* Bytes from @off that lie in host clusters of their own and hold data: they
 * can be overwritten without touching metadata.  0 when the first cannot. */
static int map_in_place(struct image *img, uint64_t len, uint64_t off,
			unsigned store_flags, uint64_t *here,
			uint64_t *host_off, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct map_window w;
	int rc =
		map_window_get(&img->map, off + len, off, store_flags, &w, err);

	*here = *host_off = 0;
	if (rc < 0 || !w.slice)
		return rc;
	for (uint64_t i = 0; i < w.n_entries && *here < len; i++) {
		struct l2_entry e = map_window_entry(&w, g, i);
		uint64_t at = off + *here;
		uint64_t room = entry_in_place(img, e, at);

		rc = entry_check(img, e, at, err);
		if (rc < 0 || !room ||
		    (*here && entry_host(g, e, at) != *host_off + *here))
			break;
		if (*here == 0)
			*host_off = entry_host(g, e, at);
		*here += room;
		if (geometry_in_cluster(g, off + *here))
			break;
	}
	*here = min_u64(*here, len);
	map_window_put(&img->map, &w);
	/* A bad entry later is somebody's who reaches it. */
	return *here ? 0 : rc;
}

static int write_bytes_at(struct image *img, struct iov_cursor *src,
			  uint64_t len, uint64_t host_off, unsigned store_flags,
			  struct qcow2_error *err)
{
	while (len) {
		struct iovec iov[IOV_COUNT];
		int n;
		uint64_t part = iov_take(src, len, iov, IOV_COUNT, &n);
		int rc = store_pwritev(img->data, iov, n, host_off, store_flags,
				       err);

		if (rc < 0)
			return rc;
		len -= part;
		host_off += part;
	}
	return 0;
}

static int write_mapped(struct image *img, struct iov_cursor *src, uint64_t len,
			uint64_t host_off, unsigned store_flags,
			struct qcow2_error *err)
{
	int rc = 0;

	if (img->data == img->file)
		rc = overlap_check(img, len, host_off, err);
	return rc < 0 ? rc
		      : write_bytes_at(img, src, len, host_off, store_flags,
				       err);
}

/* Writes from @off as far as it goes in place; *done is where it stopped. */
static int write_in_place(struct image *img, struct iov_cursor *src,
			  uint64_t len, uint64_t off, unsigned store_flags,
			  uint64_t *done, struct qcow2_error *err)
{
	*done = 0;
	while (*done < len) {
		uint64_t here, host_off;
		int rc = commit_check(&img->writer->commit, err);

		if (rc < 0)
			return rc;
		rc = map_in_place(img, len - *done, off + *done, store_flags,
				  &here, &host_off, err);
		if (rc == 0 && here)
			rc = write_mapped(img, src, here, host_off, store_flags,
					  err);
		if (rc < 0 || !here)
			return rc;
		*done += here;
	}
	return 0;
}

/* Writes all of it in place, or nothing where that takes more than one write:
 * the rest would come after the range was left, and others in between. */
static int write_at_once(struct image *img, struct iov_cursor *src,
			 uint64_t len, uint64_t off, unsigned store_flags,
			 bool *done, struct qcow2_error *err)
{
	uint64_t here, host_off;
	int rc = commit_check(&img->writer->commit, err);

	*done = false;
	if (rc == 0)
		rc = map_in_place(img, len, off, store_flags, &here, &host_off,
				  err);
	if (rc < 0 || here < len)
		return rc;
	*done = true;
	return write_mapped(img, src, len, host_off, store_flags, err);
}

/* ---- New clusters -------------------------------------------------------- */

/* A run of clusters that a write gives a new place. */
struct run {
	uint64_t guest_off; /* of the first cluster */
	uint64_t n_clusters;
	uint64_t data_off; /* guest range that the caller writes */
	uint64_t data_len;
	struct entry_plan first; /* what the first cluster was and becomes */
	struct entry_plan last;
	struct allocation a;
	bool owns;       /* a.claim is new and must go back on failure */
	bool reads_zero; /* every byte of it did before */
};

static uint64_t run_end(const struct image *img, const struct run *r)
{
	return r->guest_off + (r->n_clusters << img->geo.cluster_bits);
}

/* Looks at the entries from @off on: how many clusters the write touches that
 * need a new place, all in one window. */
static int plan_entries(struct image *img, uint64_t len, uint64_t off,
			struct run *r, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct map_window w;
	int rc = map_window_get(&img->map, off + len, off, 0, &w, err);

	if (rc < 0)
		return rc;
	assert(w.slice);
	r->guest_off = align_down(off, g->cluster_size);
	r->reads_zero = true;
	for (uint64_t i = 0; i < w.n_entries; i++) {
		uint64_t at = r->guest_off + (i << g->cluster_bits);
		struct l2_entry e = map_window_entry(&w, g, i);
		struct entry_plan p;

		if (at >= off + len)
			break;
		rc = entry_check(img, e, at, err);
		if (rc == 0)
			entry_plan_init(img, &p, e, at);
		if (rc < 0 ||
		    (i && (p.keeps_host || entry_in_place(img, e, at))))
			break;
		r->reads_zero &= p.reads_zero;
		r->last = p;
		if (i == 0)
			r->first = p;
		r->n_clusters = i + 1;
		if (p.keeps_host)
			break;
	}
	map_window_put(&img->map, &w);
	return r->n_clusters ? 0 : rc;
}

static int plan_place(struct image *img, struct run *r, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	int rc;

	if (r->first.keeps_host || g->has_data_file) {
		r->a.claim = (struct claim){ .n_clusters = r->n_clusters };
		r->a.claim.host_off = r->first.keeps_host
					      ? l2_host_off(r->first.old)
					      : r->guest_off;
		r->a.durable = true;
		return 0;
	}
	rc = alloc_clusters(&img->writer->alloc, r->n_clusters, &r->a, err);
	if (rc < 0)
		return rc;
	r->owns = true;
	if (r->a.claim.n_clusters < r->n_clusters)
		r->last = (struct entry_plan){ .middle = true };
	r->n_clusters = r->a.claim.n_clusters;
	return 0;
}

static int plan_run(struct image *img, uint64_t len, uint64_t off,
		    struct run *r, struct qcow2_error *err)
{
	uint64_t end;
	int rc = tables_make(img, off, err);

	memset(r, 0, sizeof(*r));
	if (rc == 0)
		rc = plan_entries(img, len, off, r, err);
	if (rc == 0)
		rc = plan_place(img, r, err);
	if (rc < 0)
		return rc;
	end = min_u64(off + len, run_end(img, r));
	r->data_off = off;
	r->data_len = end - off;
	return 0;
}

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

int image_read_old(struct image *img, struct iov_cursor *dst, uint64_t len,
		   uint64_t off, struct qcow2_error *err)
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
	int rc = inside ? image_read_old(img, &cursor, inside, off, err) : 0;

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
	uint64_t data_end = r->data_off + r->data_len;
	struct around a = { .head_off = r->data_off };

	/* Untouched clusters read as the zeros that are wanted. */
	if (r->reads_zero && r->a.claim.reads_zero)
		return a;
	a.head_off = entry_copy_begin(img, &r->first, r->data_off);
	a.head_len = r->data_off - a.head_off;
	a.tail_len = r->last.middle ? 0
				    : entry_copy_end(img, &r->last, data_end) -
					      data_end;
	if (a.head_len && a.tail_len && r->data_len <= READ_THROUGH_MAX)
		a.gap_len = r->data_len;
	return a;
}

/* The old contents of head and tail, and of what is between them as well if
 * there is a gap; what is overwritten need not be readable, though. */
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
	return rc;
}

/* O1, O2, O6, O8: the entry follows data and refcounts, unless every state in
 * between shows the zeros that were there before. */
static bool needs_order(const struct image *img, const struct run *r)
{
	return !(r->reads_zero && r->a.claim.reads_zero && r->a.durable &&
		 !img->geo.has_data_file);
}

static int link_run(struct image *img, const struct run *r,
		    struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct commit *c = &img->writer->commit;
	struct map_window w;
	int rc = map_window_get(&img->map, run_end(img, r), r->guest_off, 0, &w,
				err);

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
		if (needs_order(img, r))
			commit_order(c);
		commit_end(c);
	}
	map_window_put(&img->map, &w);
	return rc;
}

static int write_run(struct image *img, struct iov_cursor *src, uint64_t len,
		     uint64_t off, uint64_t *done, struct qcow2_error *err)
{
	struct run r;
	int rc = plan_run(img, len, off, &r, err);

	if (rc < 0)
		return rc;
	if (img->data == img->file)
		rc = overlap_check(img, r.n_clusters << img->geo.cluster_bits,
				   r.a.claim.host_off, err);
	if (rc == 0)
		rc = write_data(img, src, &r, err);
	if (rc == 0)
		rc = link_run(img, &r, err);
	if (rc < 0 && r.owns)
		refcounts_unclaim(&img->writer->refs, &r.a.claim);
	*done = r.data_len;
	return rc;
}

/* Whole clusters are ours: nobody else changes their entries. */
int write_in_flight(struct image *img, struct iov_cursor *src, uint64_t len,
		    uint64_t off, struct qcow2_error *err)
{
	while (len) {
		uint64_t done;
		int rc = write_in_place(img, src, len, off, 0, &done, err);

		if (rc == 0 && done < len) {
			uint64_t more;

			rc = write_run(img, src, len - done, off + done, &more,
				       err);
			done += more;
		}
		if (rc < 0)
			return rc;
		len -= done;
		off += done;
	}
	return 0;
}

static int busy(struct qcow2_error *err)
{
	return error_set(err, -EAGAIN, "an overlapping write is under way");
}

static int would_allocate(struct qcow2_error *err)
{
	return error_set(err, -EAGAIN,
			 "the write needs new clusters, which may have to "
			 "wait for the disk");
}

/* Without waiting: only what needs no new clusters. */
static int write_without_waiting(struct image *img, struct iov_cursor *src,
				 uint64_t len, uint64_t off,
				 struct qcow2_error *err)
{
	uint64_t done;
	int rc = write_in_place(img, src, len, off, QCOW2_STORE_NOWAIT, &done,
				err);

	return rc == 0 && done < len ? would_allocate(err) : rc;
}

static int write_region(struct image *img, struct iov_cursor *src, uint64_t len,
			uint64_t off, unsigned flags, struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	struct inflight *f = &img->writer->inflight;
	bool wait = !(flags & QCOW2_NOWAIT);
	struct inflight_range range;
	bool done;
	int rc;

	if (!inflight_enter(f, &range, off, off + len, wait))
		return busy(err);
	rc = write_at_once(img, src, len, off, wait ? 0 : QCOW2_STORE_NOWAIT,
			   &done, err);
	inflight_leave(f, &range);
	if (rc < 0 || done)
		return rc;
	if (!inflight_enter(f, &range, align_down(off, cluster),
			    align_up(off + len, cluster), wait))
		return busy(err);
	if (wait)
		rc = write_in_flight(img, src, len, off, err);
	else
		rc = write_without_waiting(img, src, len, off, err);
	inflight_leave(f, &range);
	return rc;
}

int write_regions(struct image *img, struct iov_cursor *src, uint64_t len,
		  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	int rc = 0;

	while (rc == 0 && len) {
		uint64_t part = min_u64(len, inflight_region_end(off) - off);
		struct grace_ref ref;

		rc = commit_make_room(&img->writer->commit, err);
		if (rc < 0)
			return rc;
		ref = writer_grace_begin(img);
		rc = write_region(img, src, part, off, flags, err);
		writer_grace_end(ref);
		if (rc == 0 && commit_wanted(&img->writer->commit))
			rc = image_flush(img, err);
		len -= part;
		off += part;
	}
	return rc;
}

int image_pwritev(struct image *img, const struct iovec *iov, int iovcnt,
		  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct iov_cursor src = iov_cursor_init(iov, iovcnt);
	uint64_t len = iov_len(iov, iovcnt);
	int rc = proof_before_change(img, len, flags, err);

	if (rc == 0)
		rc = features_before_guest_change(img, err);
	if (rc == 0)
		rc = write_regions(img, &src, len, off, flags, err);
	if (rc == 0 && (flags & QCOW2_FUA))
		rc = image_flush(img, err);
	return rc;
}
