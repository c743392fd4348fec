/*
 * Guest bytes to host bytes: image_map() finds runs, image_read() fetches
 * them.  Neither takes a lock of its own: slices are pinned while entries are
 * looked at, and nothing is pinned during data I/O.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/error.h"
#include "image/image.h"
#include "store/store.h"

static bool kind_has_host_off(enum subcluster_kind kind)
{
	return kind == SUBCLUSTER_NORMAL || kind == SUBCLUSTER_ZERO_ALLOC ||
	       kind == SUBCLUSTER_UNALLOCATED_ALLOC;
}

static int entry_error(enum defect defect, uint64_t guest_off,
		       uint64_t entry_off, struct l2_entry e,
		       struct qcow2_error *err)
{
	return error_defect(err, -EIO, (int)defect, entry_off,
			    "%s (guest offset %" PRIu64 ", entry 0x%" PRIx64
			    ")",
			    defect_info((int)defect)->text, guest_off, e.desc);
}

/* Extends @x over entries that are zero, as far as they go from entry @i;
 * false when the run is of another kind. */
static bool map_zeros(const struct geometry *g, const struct map_window *w,
		      uint64_t i, uint64_t guest_off, struct image_extent *x)
{
	uint64_t n = map_window_empty(w, g, i);
	uint64_t at = guest_off + x->len;

	if (!n || (x->len && x->kind != SUBCLUSTER_UNALLOCATED_PLAIN))
		return false;
	x->kind = SUBCLUSTER_UNALLOCATED_PLAIN;
	x->len += (n << g->cluster_bits) - geometry_in_cluster(g, at);
	return true;
}

/* One cluster's share of a run: from @guest_off to where the kind changes. */
struct image_read_piece {
	enum subcluster_kind kind;
	uint64_t len;
	uint64_t host_off;
};

static struct image_read_piece
entry_piece(const struct geometry *g, struct l2_entry e, uint64_t guest_off)
{
	uint64_t in_cluster = geometry_in_cluster(g, guest_off);
	unsigned sub = (unsigned)(in_cluster >> g->subcluster_bits);
	struct image_read_piece p;
	unsigned n = l2_subcluster_run(g, e, sub, &p.kind);

	p.len = ((uint64_t)(sub + n) << g->subcluster_bits) - in_cluster;
	p.host_off = l2_host_off(e) + in_cluster;
	return p;
}

/* Does @p, which begins at @len of @x, go on where @x ends? */
static bool piece_continues(const struct image_extent *x,
			    const struct image_read_piece *p)
{
	if (p->kind != x->kind || p->kind == SUBCLUSTER_COMPRESSED)
		return false;
	return !kind_has_host_off(p->kind) ||
	       p->host_off == x->host_off + x->len;
}

/* Extends @x by @p, a piece of @e; false when the run ends before or with
 * it. */
static bool piece_add(struct image_extent *x, const struct image_read_piece *p,
		      struct l2_entry e)
{
	if (x->len && !piece_continues(x, p))
		return false;
	if (x->len == 0) {
		x->kind = p->kind;
		x->host_off = p->host_off;
		x->desc = e.desc;
	}
	x->len += p->len;
	return p->kind != SUBCLUSTER_COMPRESSED;
}

/*
 * Extends @x over the entries of one window, up to @want bytes in all.
 * Returns 1 when the run goes on to the end of the window, 0 when it ended
 * inside, or the error of a bad first entry.
 */
static int map_window(struct image *img, const struct map_window *w,
		      uint64_t want, uint64_t guest_off, struct image_extent *x,
		      struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	uint64_t base = align_down(guest_off + x->len, g->cluster_size);
	uint64_t file_end = image_file_end(img);
	uint64_t data_end = image_data_end(img);

	while (x->len < want) {
		uint64_t at = guest_off + x->len;
		uint64_t i = (at - base) >> g->cluster_bits;
		struct l2_entry e;
		enum defect bad;
		struct image_read_piece p;

		if (i >= w->n_entries)
			break;
		e = map_window_entry(w, g, i);
		if (e.desc == 0 && map_zeros(g, w, i, guest_off, x))
			continue;
		bad = l2_entry_unreadable(g, e, base + (i << g->cluster_bits),
					  file_end, data_end);
		/* The file may have become longer before the entry came. */
		if (bad != DEFECT_NONE) {
			file_end = image_file_end(img);
			data_end = image_data_end(img);
			bad = l2_entry_unreadable(g, e,
						  base + (i << g->cluster_bits),
						  file_end, data_end);
		}
		if (bad != DEFECT_NONE && x->len)
			return 0;
		if (bad != DEFECT_NONE)
			return entry_error(bad, at,
					   w->host_off + i * g->l2_entry_bytes,
					   e, err);
		p = entry_piece(g, e, at);
		if (!piece_add(x, &p, e))
			return 0;
	}
	return 1;
}

/* The same for a window that is all of one kind. */
static int map_uniform(struct image *img, const struct map_window *w,
		       uint64_t guest_off, struct image_extent *x)
{
	const struct geometry *g = &img->geo;
	uint64_t at = guest_off + x->len;

	if (x->len && x->kind != w->kind)
		return 0;
	x->kind = w->kind;
	x->len +=
		(w->n_entries << g->cluster_bits) - geometry_in_cluster(g, at);
	return 1;
}

static int map_step(struct image *img, uint64_t want, uint64_t guest_off,
		    unsigned flags, struct image_extent *x,
		    struct qcow2_error *err)
{
	struct map_window w;
	uint64_t at = guest_off + x->len;
	int rc =
		map_window_get(&img->map, guest_off + want, at, flags, &w, err);

	/* The extent found so far is a good answer. */
	if (rc < 0)
		return x->len ? 0 : rc;
	if (!w.slice)
		return map_uniform(img, &w, guest_off, x);
	rc = map_window(img, &w, want, guest_off, x, err);
	map_window_put(&img->map, &w);
	return rc;
}

int image_allow_walk(struct image *img, struct qcow2_error *err)
{
	const struct repeats_source src = {
		.geo = &img->geo,
		.file = img->file,
		.file_end = image_file_end(img),
		.changing = img->writer != NULL,
		.trust_holes = true,
	};

	return map_allow_walk(&img->map, &src, err);
}

int image_map(struct image *img, uint64_t len, uint64_t guest_off,
	      unsigned flags, struct image_extent *out, struct qcow2_error *err)
{
	unsigned store_flags = store_nowait(flags);
	int more = 1;

	/* Behind the disk there may be VM state. */
	assert(len && (guest_off >= img->virtual_size ||
		       len <= img->virtual_size - guest_off));
	*out = (struct image_extent){ 0 };
	if (img->lacks & QCOW2_LACKS_L1_TABLE)
		return error_defect(err, -EIO, DEFECT_HEADER_L1_OFFSET,
				    img->header.l1_off,
				    "the L1 table at %" PRIu64 " lies past the "
				    "end of the file, %" PRIu64,
				    img->header.l1_off, img->sizes.file);
	while (more && out->len < len) {
		more = map_step(img, len, guest_off, store_flags, out, err);
		if (more < 0)
			return more;
	}
	out->len = min_u64(out->len, len);
	return 0;
}

static int read_data(struct image *img, struct iov_cursor *dst, uint64_t len,
		     uint64_t host_off, unsigned flags, struct qcow2_error *err)
{
	return store_read_cursor(img->data, dst, len, host_off,
				 store_nowait(flags), err);
}

int image_read(struct image *img, struct iov_cursor *dst, uint64_t len,
	       uint64_t guest_off, const struct image_extent *extent,
	       unsigned flags, struct qcow2_error *err)
{
	assert(len <= extent->len);
	switch (extent->kind) {
	case SUBCLUSTER_NORMAL:
		return read_data(img, dst, len, extent->host_off, flags, err);
	case SUBCLUSTER_ZERO_PLAIN:
	case SUBCLUSTER_ZERO_ALLOC:
		iov_zero(dst, len);
		return 0;
	case SUBCLUSTER_COMPRESSED:
		return compressed_read(
			&img->compressed,
			compressed_decode(&img->geo, extent->desc), dst, len,
			geometry_in_cluster(&img->geo, guest_off), flags, err);
	default:
		assert(!"nothing to read here");
		return -EINVAL;
	}
}
