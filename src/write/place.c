#include "write/place.h"

#include "base/checked.h"
#include "image/image.h"
#include "store/store.h"
#include "write/entry.h"
#include "write/features.h"
#include "write/overlap.h"
#include "write/tables.h"
#include "write/write.h"
#include "write/writer.h"

/* What the entries of a range are, as far as they are all alike. */
struct look {
	uint64_t len;
	uint64_t host_off; /* in place: of the first byte; else 0 */
	bool fresh;        /* clusters that nothing was ever said about */
};

static bool is_fresh(struct l2_entry e)
{
	return e.desc == 0 && e.bitmap == 0;
}

/* The entry @e of the byte at @at, behind what @l has; false when it ends. */
static bool look_on(const struct image *img, struct l2_entry e, uint64_t at,
		    struct look *l)
{
	const struct geometry *g = &img->geo;
	uint64_t room = entry_in_place(img, e, at);
	bool first = l->len == 0;

	if (is_fresh(e) && (first || l->fresh)) {
		l->fresh = true;
		l->len += g->cluster_size - geometry_in_cluster(g, at);
		return true;
	}
	if (l->fresh || !room ||
	    (!first && entry_host(g, e, at) != l->host_off + l->len))
		return false;
	if (first)
		l->host_off = entry_host(g, e, at);
	l->len += room;
	return geometry_in_cluster(g, at + room) == 0;
}

static int look(struct image *img, uint64_t len, uint64_t off, struct look *l,
		struct qcow2_error *err)
{
	struct map_window w;
	int rc = map_window_get(&img->map, off + len, off, 0, &w, err);

	*l = (struct look){ 0 };
	if (rc < 0 || !w.slice)
		return rc;
	for (uint64_t i = 0; i < w.n_entries && l->len < len; i++) {
		struct l2_entry e = map_window_entry(&w, &img->geo, i);

		rc = entry_check(img, e, off + l->len, err);
		if (rc < 0 || !look_on(img, e, off + l->len, l))
			break;
	}
	l->len = min_u64(l->len, len);
	map_window_put(&img->map, &w);
	return rc;
}

static int link_fresh(struct image *img, const struct claim *claim,
		      uint64_t len, uint64_t off, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct commit *c = &img->writer->commit;
	uint64_t cluster = align_down(off, g->cluster_size);
	struct map_window w;
	int rc = map_window_get(&img->map, off + len, off, 0, &w, err);

	if (rc < 0)
		return rc;
	rc = commit_begin(c, 0, err);
	for (uint64_t i = 0; rc == 0 && i < claim->n_clusters; i++) {
		uint64_t add = i << g->cluster_bits;
		struct entry_plan p;

		entry_plan_init(img, &p, (struct l2_entry){ 0, 0 },
				cluster + add);
		commit_set_l2(
			c, w.slice, w.first + i,
			entry_new(img, &p, claim->host_off + add, off, len));
	}
	if (rc == 0)
		commit_end(c);
	map_window_put(&img->map, &w);
	return rc;
}

static int claim_for(struct image *img, uint64_t n_clusters, uint64_t off,
		     struct claim *out, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct allocation a;
	int rc;

	if (g->has_data_file) {
		*out = (struct claim){ .host_off =
					       align_down(off, g->cluster_size),
				       .n_clusters = n_clusters,
				       .reads_zero = true };
		return 0;
	}
	rc = alloc_clusters(&img->writer->alloc, n_clusters, &a, err);
	if (rc == 0)
		*out = a.claim;
	return rc;
}

/* Space that was used before, as all of a block device counts, has old contents
 * around the data. */
static int zero_around(struct image *img, const struct claim *claim,
		       uint64_t len, uint64_t off, struct qcow2_error *err)
{
	uint64_t head = geometry_in_cluster(&img->geo, off);
	uint64_t end = head + len;
	uint64_t tail = (claim->n_clusters << img->geo.cluster_bits) - end;
	int rc = 0;

	if (claim->reads_zero)
		return 0;
	if (head)
		rc = store_zero(img->file, head, claim->host_off, 0, err);
	if (rc == 0 && tail)
		rc = store_zero(img->file, tail, claim->host_off + end, 0, err);
	return rc;
}

static int place_fresh(struct image *img, uint64_t len, uint64_t off,
		       uint64_t *here, uint64_t *host_off,
		       struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	uint64_t in_cluster = geometry_in_cluster(g, off);
	struct claim claim;
	int rc = claim_for(img, div_round_up(in_cluster + len, g->cluster_size),
			   off, &claim, err);

	*here = 0;
	if (rc < 0)
		return rc;
	len = min_u64(len, (claim.n_clusters << g->cluster_bits) - in_cluster);
	if (!g->has_data_file)
		rc = overlap_check(img, claim.n_clusters << g->cluster_bits,
				   claim.host_off, err);
	if (rc == 0)
		rc = zero_around(img, &claim, len, off, err);
	if (rc == 0)
		rc = link_fresh(img, &claim, len, off, err);
	if (rc == 0) {
		*here = len;
		*host_off = claim.host_off + in_cluster;
	} else if (!g->has_data_file) {
		refcounts_unclaim(&img->writer->refs, &claim);
	}
	return rc;
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

/* Who places enters no range, so that the proof could not keep him out: it comes
 * before all of it. */
static int before_placing(struct image *img, struct qcow2_error *err)
{
	int rc = proof_make(img, err);

	return rc < 0 ? rc : features_before_guest_change(img, err);
}

int image_place(struct image *img, uint64_t len, uint64_t off, uint64_t *here,
		uint64_t *host_off, struct qcow2_error *err)
{
	struct grace_ref ref;
	struct look l = { 0 };
	int rc = before_placing(img, err);

	*here = 0;
	if (rc < 0)
		return rc;
	ref = writer_grace_begin(img);
	rc = tables_make(img, off, err);
	if (rc == 0)
		rc = look(img, len, off, &l, err);
	if (rc == 0 && l.fresh && covers(img, l.len, off)) {
		rc = place_fresh(img, l.len, off, here, host_off, err);
	} else if (rc == 0 && !l.fresh) {
		*here = l.len;
		*host_off = l.host_off;
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
	struct look l = { 0 };
	int rc = before_placing(img, err);

	*host_off = 0;
	if (rc < 0)
		return rc;
	ref = writer_grace_begin(img);
	rc = tables_make(img, off, err);
	if (rc == 0)
		rc = look(img, img->geo.cluster_size, off, &l, err);
	if (rc == 0 && l.fresh)
		rc = place_encoded(img, (uint32_t)len, off, host_off, err);
	writer_grace_end(ref);
	return maybe_flush(img, rc, err);
}

int image_write_placed(struct image *img, const struct iovec *iov, int iovcnt,
		       uint64_t host_off, struct qcow2_error *err)
{
	return store_pwritev(img->data, iov, iovcnt, host_off, 0, err);
}
