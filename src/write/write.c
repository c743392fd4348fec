/*
 * Guest writes, step by step.
 *
 * A request is cut at the regions of the in-flight table.  In each region a
 * look says what the write meets.  Bytes that one write can overwrite are
 * written at once, while they alone are in flight.  For anything else the range
 * is widened to whole clusters, so that no other writer comes between the
 * steps: data in clusters of its own is overwritten in place, the rest gets a
 * run of new clusters.
 */
#include "write/write.h"

#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/iov.h"
#include "image/image.h"
#include "store/store.h"
#include "write/features.h"
#include "write/look.h"
#include "write/run.h"
#include "write/tables.h"
#include "write/writer.h"

/* ---- Steps --------------------------------------------------------------- */

int look_to_write(struct image *img, uint64_t len, uint64_t off, unsigned flags,
		  struct look *l, struct qcow2_error *err)
{
	int rc = commit_check(&img->writer->commit, err);

	return rc < 0 ? rc : look_at(img, len, off, flags, l, err);
}

/* The guard was asked about these clusters when their entries were looked
 * at. */
static int write_in_place(struct image *img, struct iov_cursor *src,
			  const struct look *l, unsigned flags,
			  struct qcow2_error *err)
{
	unsigned nowait = store_nowait(flags);
	uint64_t done = 0;

	while (done < l->len) {
		struct iovec iov[IOV_COUNT];
		int n;
		uint64_t part =
			iov_take(src, l->len - done, iov, IOV_COUNT, &n);
		int rc = store_pwritev(img->data, iov, n, l->host_off + done,
				       nowait, err);

		if (rc < 0)
			return rc;
		done += part;
	}
	return 0;
}

static int write_new_clusters(struct image *img, struct iov_cursor *src,
			      struct look *l, uint64_t *done,
			      struct qcow2_error *err)
{
	int rc = tables_make(img, l->off, err);

	if (rc == 0 && l->kind == LOOK_NO_TABLE)
		rc = look_at(img, l->len, l->off, 0, l, err);
	return rc < 0 ? rc : run_write(img, src, l, done, err);
}

static int would_allocate(struct qcow2_error *err)
{
	return error_set(err, -EAGAIN,
			 "the write needs new clusters, which may have to "
			 "wait for the disk");
}

/* Writes the next @len bytes, the first of which @l has looked at.  Whole
 * clusters are ours: nobody else changes their entries. */
static int write_looked(struct image *img, struct iov_cursor *src, uint64_t len,
			struct look *l, unsigned flags, struct qcow2_error *err)
{
	for (;;) {
		uint64_t done = l->len;
		int rc;

		if (l->kind == LOOK_IN_PLACE)
			rc = write_in_place(img, src, l, flags, err);
		else if (flags & QCOW2_NOWAIT)
			rc = would_allocate(err);
		else
			rc = write_new_clusters(img, src, l, &done, err);
		len -= done;
		if (rc < 0 || len == 0)
			return rc;
		rc = look_to_write(img, len, l->off + done, flags, l, err);
		if (rc < 0)
			return rc;
	}
}

int write_in_flight(struct image *img, struct iov_cursor *src, uint64_t len,
		    uint64_t off, struct qcow2_error *err)
{
	struct look l;
	int rc = look_to_write(img, len, off, 0, &l, err);

	return rc < 0 ? rc : write_looked(img, src, len, &l, 0, err);
}

/* ---- Requests ------------------------------------------------------------ */

static int busy(struct qcow2_error *err)
{
	return error_set(err, -EAGAIN, "an overlapping write is under way");
}

/* Enters whole clusters, waits for others that are in them, and looks again. */
static int write_whole_clusters(struct image *img, struct iov_cursor *src,
				uint64_t len, uint64_t off, unsigned flags,
				struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	struct inflight *f = &img->writer->inflight;
	struct inflight_range range;
	struct look l;
	int rc;

	if (!inflight_enter(f, &range, align_down(off, cluster),
			    align_up(off + len, cluster),
			    !(flags & QCOW2_NOWAIT)))
		return busy(err);
	rc = look_to_write(img, len, off, flags, &l, err);
	if (rc == 0)
		rc = write_looked(img, src, len, &l, flags, err);
	inflight_leave(f, &range);
	return rc;
}

/* One write in place needs only its own bytes in flight.  If it takes more, the
 * rest would come after the range was left, with other writers in between.  If
 * no other request is in the clusters the look stays true: nobody could change
 * an entry while we were in its cluster. */
static int write_region(struct image *img, struct iov_cursor *src, uint64_t len,
			uint64_t off, unsigned flags, struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	struct inflight *f = &img->writer->inflight;
	struct inflight_range range;
	bool again = false;
	struct look l;
	int rc;

	if (!inflight_enter(f, &range, off, off + len, !(flags & QCOW2_NOWAIT)))
		return busy(err);
	rc = look_to_write(img, len, off, flags, &l, err);
	if (rc == 0 && l.kind == LOOK_IN_PLACE && l.len == len)
		rc = write_in_place(img, src, &l, flags, err);
	else if (rc == 0 && inflight_widen(f, &range, align_down(off, cluster),
					   align_up(off + len, cluster)))
		rc = write_looked(img, src, len, &l, flags, err);
	else
		again = rc == 0;
	inflight_leave(f, &range);
	return again ? write_whole_clusters(img, src, len, off, flags, err)
		     : rc;
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

	if (rc == 0 && !(flags & WRITE_UNSEEN))
		rc = features_before_guest_change(img, err);
	if (rc == 0)
		rc = write_regions(img, &src, len, off, flags, err);
	if (rc == 0 && (flags & QCOW2_FUA))
		rc = image_flush(img, err);
	return rc;
}
