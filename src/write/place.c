#include "write/place.h"

#include "base/checked.h"
#include "image/image.h"
#include "store/store.h"
#include "write/features.h"
#include "write/look.h"
#include "write/run.h"
#include "write/tables.h"
#include "write/write.h"
#include "write/writer.h"

/* Space that was used before, as all of a block device counts, has old contents
 * around the data.  A new data file has none. */
static int place_zero_around(struct image *img, const struct run *r,
			     struct qcow2_error *err)
{
	uint64_t host_off = r->a.claim.host_off;
	uint64_t head = r->data_off - r->guest_off;
	uint64_t end = head + r->data_len;
	uint64_t tail = (r->n_clusters << img->geo.cluster_bits) - end;
	int rc = 0;

	if (r->a.claim.reads_zero || img->geo.has_data_file)
		return 0;
	if (head)
		rc = store_zero(img->file, head, host_off, 0, err);
	if (rc == 0 && tail)
		rc = store_zero(img->file, tail, host_off + end, 0, err);
	return rc;
}

/* C6: nothing is ordered. */
static int place_fresh(struct image *img, const struct look *l, uint64_t *here,
		       uint64_t *host_off, struct qcow2_error *err)
{
	struct run r;
	int rc = run_place(img, l, &r, err);

	if (rc < 0)
		return rc;
	rc = place_zero_around(img, &r, err);
	if (rc == 0)
		rc = run_link(img, &r, false, 0, err);
	if (rc < 0) {
		run_cancel(img, &r);
		return rc;
	}
	*here = r.data_len;
	*host_off = r.a.claim.host_off + (r.data_off - r.guest_off);
	return 0;
}

/* Only clusters with empty entries: the others have something to be copied. */
static bool keep_fresh(const struct image *img, struct look *l)
{
	const struct geometry *g = &img->geo;
	uint64_t begin = align_down(l->off, g->cluster_size);

	if (l->kind != LOOK_NEW || !l->n_fresh)
		return false;
	l->n_clusters = l->n_fresh;
	l->len = min_u64(l->len,
			 begin + (l->n_fresh << g->cluster_bits) - l->off);
	return true;
}

/* Many small claims can have made much dirty. */
static int maybe_flush(struct image *img, int rc, struct qcow2_error *err)
{
	if (rc == 0 && commit_wanted(&img->writer->commit))
		return image_flush(img, err);
	return rc;
}

/* Nothing below shines through around what is written. */
static bool covers(const struct image *img, uint64_t len, uint64_t off)
{
	uint32_t size = img->geo.cluster_size;
	uint64_t end = off + len;

	if (entry_below_is_zero(img, align_down(off, size)))
		return true;
	return is_aligned(off, size) &&
	       (is_aligned(end, size) || end == img->virtual_size);
}

/* Placing enters no range, so the proof could not keep it out: the proof comes
 * before all of it. */
static int before_placing(struct image *img, struct qcow2_error *err)
{
	int rc = proof_make(img, err);

	return rc < 0 ? rc : features_before_guest_change(img, err);
}

static int look_to_place(struct image *img, uint64_t len, uint64_t off,
			 struct look *l, struct qcow2_error *err)
{
	int rc = tables_make(img, off, err);

	return rc < 0 ? rc : look_at(img, len, off, 0, l, err);
}

int image_place(struct image *img, uint64_t len, uint64_t off, uint64_t *here,
		uint64_t *host_off, struct qcow2_error *err)
{
	struct grace_ref ref;
	struct look l;
	int rc = before_placing(img, err);

	*here = *host_off = 0;
	if (rc < 0)
		return rc;
	ref = writer_grace_begin(img);
	rc = look_to_place(img, len, off, &l, err);
	if (rc == 0 && l.kind == LOOK_IN_PLACE) {
		*here = l.len;
		*host_off = l.host_off;
	} else if (rc == 0 && keep_fresh(img, &l) && covers(img, l.len, off)) {
		rc = place_fresh(img, &l, here, host_off, err);
	}
	writer_grace_end(ref);
	return maybe_flush(img, rc, err);
}

static int link_encoded(struct image *img, uint64_t desc, uint64_t off,
			struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	struct map_window w;
	int rc = map_window_get(&img->map, off + img->geo.cluster_size, off, 0,
				&w, err);

	if (rc < 0)
		return rc;
	rc = commit_begin(c, 0, err);
	if (rc == 0) {
		commit_set_l2(c, w.slice, w.first,
			      (struct l2_entry){ desc, 0 });
		commit_end(c);
	}
	map_window_put(&img->map, &w);
	return rc;
}

static int place_encoded(struct image *img, uint32_t len, uint64_t off,
			 uint64_t *host_off, struct qcow2_error *err)
{
	uint64_t desc;
	int rc = image_reserve_encoded(img, len, host_off, &desc, err);

	if (rc < 0)
		return rc;
	compressed_forget(&img->compressed, len, *host_off);
	rc = link_encoded(img, desc, off, err);
	if (rc < 0)
		pack_cancel(&img->writer->pack, len, *host_off);
	return rc;
}

int image_place_encoded(struct image *img, size_t len, uint64_t off,
			uint64_t *host_off, struct qcow2_error *err)
{
	struct grace_ref ref;
	struct look l;
	int rc = before_placing(img, err);

	*host_off = 0;
	if (rc < 0)
		return rc;
	ref = writer_grace_begin(img);
	rc = look_to_place(img, img->geo.cluster_size, off, &l, err);
	if (rc == 0 && keep_fresh(img, &l))
		rc = place_encoded(img, (uint32_t)len, off, host_off, err);
	writer_grace_end(ref);
	return maybe_flush(img, rc, err);
}

int image_write_placed(struct image *img, const struct iovec *iov, int iovcnt,
		       uint64_t host_off, struct qcow2_error *err)
{
	return store_pwritev(img->data, iov, iovcnt, host_off, 0, err);
}
