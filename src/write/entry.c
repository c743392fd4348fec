#include "write/entry.h"

#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/error.h"
#include "image/image.h"
#include "write/features.h"
#include "write/overlap.h"
#include "write/proof.h"
#include "write/writer.h"

static bool has_host(const struct geometry *g, struct l2_entry e)
{
	return !(e.desc & L2_COMPRESSED) &&
	       (l2_host_off(e) ||
		(g->has_data_file && (e.desc & ENTRY_COPIED)));
}

/* Whether nobody else has the entry's host cluster.  An external data file has
 * no refcounts: there each cluster has its one place. */
static bool write_entry_is_own(const struct image *img, struct l2_entry e)
{
	const struct geometry *g = &img->geo;

	return has_host(g, e) && (e.desc & ENTRY_COPIED) &&
	       (g->has_data_file || proof_allows_in_place(img, l2_host_off(e)));
}

/* Host clusters in a row; none when n is 0. */
struct write_entry_run {
	uint64_t host_off;
	uint64_t n;
};

uint64_t entry_compressed_end(const struct image *img, struct compressed c)
{
	uint64_t size = img->geo.cluster_size;
	uint64_t opened = align_up(img->sizes.file, size);
	uint64_t end = align_up(c.host_off + c.len, size);

	if (c.host_off < opened)
		end = min_u64(end, opened);
	return min_u64(end, align_up(image_file_end(img), size));
}

/* Those of the image file that the entry has a reference to. */
static struct write_entry_run write_entry_clusters_of(const struct image *img,
						      struct l2_entry e)
{
	const struct geometry *g = &img->geo;
	uint64_t first = l2_host_off(e);
	uint64_t end = first + g->cluster_size;

	if (g->has_data_file)
		return (struct write_entry_run){ 0 };
	if (e.desc & L2_COMPRESSED) {
		struct compressed c = compressed_decode(g, e.desc);

		first = align_down(c.host_off, g->cluster_size);
		end = entry_compressed_end(img, c);
	} else if (!first) {
		return (struct write_entry_run){ 0 };
	}
	return (struct write_entry_run){ first,
					 (end - first) >> g->cluster_bits };
}

/* Metadata is nobody's data: replacing the entry would free it. */
static int check_owner(struct image *img, struct l2_entry e,
		       struct qcow2_error *err)
{
	struct write_entry_run r = write_entry_clusters_of(img, e);

	return r.n ? overlap_check(img, r.n << img->geo.cluster_bits,
				   r.host_off, err)
		   : 0;
}

int entry_check(struct image *img, struct l2_entry e, uint64_t guest_off,
		struct qcow2_error *err)
{
	enum defect bad = l2_entry_unreadable(&img->geo, e, guest_off,
					      image_file_end(img),
					      image_data_end(img));

	if (bad == DEFECT_NONE)
		return check_owner(img, e, err);
	error_defect(err, -EIO, (int)bad, UINT64_MAX,
		     "%s (guest offset %" PRIu64 ", entry 0x%" PRIx64 ")",
		     defect_info((int)bad)->text, guest_off, e.desc);
	return features_mark_corrupt(img, -EIO);
}

uint64_t entry_in_place(const struct image *img, struct l2_entry e,
			uint64_t guest_off)
{
	const struct geometry *g = &img->geo;
	uint64_t in_cluster = geometry_in_cluster(g, guest_off);
	unsigned sub = geometry_subcluster_index(g, guest_off);
	enum subcluster_kind kind;
	unsigned n;

	if (!write_entry_is_own(img, e))
		return 0;
	n = l2_subcluster_run(g, e, sub, &kind);
	if (kind != SUBCLUSTER_NORMAL)
		return 0;
	return ((uint64_t)(sub + n) << g->subcluster_bits) - in_cluster;
}

bool entry_below_is_zero(const struct image *img, uint64_t guest_off)
{
	const struct below *below = &img->writer->below;

	return !below->read || guest_off >= below->size;
}

bool entry_below_reads_zero(const struct image *img, uint64_t len,
			    uint64_t guest_off)
{
	const struct below *below = &img->writer->below;

	if (entry_below_is_zero(img, guest_off))
		return true;
	return below->reads_zero &&
	       below->reads_zero(below->opaque,
				 min_u64(len, below->size - guest_off),
				 guest_off);
}

static bool plan_reads_zero(const struct image *img, struct l2_entry e,
			    uint64_t guest_off)
{
	const struct geometry *g = &img->geo;
	bool below = entry_below_is_zero(img, guest_off);

	if (e.desc & L2_COMPRESSED)
		return false;
	if (g->extended_l2)
		return !(e.bitmap & SUB_ALL_ALLOC) &&
		       (below || (e.bitmap & SUB_ALL_ZERO) == SUB_ALL_ZERO);
	if (e.desc & L2_ZERO)
		return true;
	return !has_host(g, e) && below;
}

void entry_plan_init(const struct image *img, struct entry_plan *p,
		     struct l2_entry e, uint64_t guest_off)
{
	const struct geometry *g = &img->geo;

	*p = (struct entry_plan){ .old = e, .guest_off = guest_off };
	p->keeps_host = write_entry_is_own(img, e);
	p->reads_zero = plan_reads_zero(img, e, guest_off);
	p->copy_all = !g->extended_l2 || (e.desc & L2_COMPRESSED);
}

/* The subcluster at @guest_off holds its data already, in its place. */
static bool write_entry_is_there(const struct image *img,
				 const struct entry_plan *p, uint64_t guest_off)
{
	return p->keeps_host && entry_in_place(img, p->old, guest_off) != 0;
}

/* Subclusters with data move with the cluster.  Gaps between them and the new
 * data are written too, since one write is cheaper than two, but stay
 * unallocated. */
static uint64_t moving(const struct entry_plan *p)
{
	return p->keeps_host ? 0 : p->old.bitmap & SUB_ALL_ALLOC;
}

uint64_t entry_copy_begin(const struct image *img, const struct entry_plan *p,
			  uint64_t data_off)
{
	uint32_t bits = img->geo.subcluster_bits;
	uint64_t begin = align_down(data_off, UINT64_C(1) << bits);
	uint64_t moves = moving(p);

	if (p->copy_all)
		return p->guest_off;
	if (write_entry_is_there(img, p, data_off))
		return data_off;
	if (moves)
		begin = min_u64(begin,
				p->guest_off + ((uint64_t)__builtin_ctzll(moves)
						<< bits));
	return begin;
}

uint64_t entry_copy_end(const struct image *img, const struct entry_plan *p,
			uint64_t data_end)
{
	uint32_t bits = img->geo.subcluster_bits;
	uint64_t end = p->guest_off + img->geo.cluster_size;
	uint64_t moves = moving(p);

	if (data_end >= end || p->copy_all)
		return max_u64(end, data_end);
	if (write_entry_is_there(img, p, data_end - 1))
		return data_end;
	end = align_up(data_end, UINT64_C(1) << bits);
	if (moves)
		end = max_u64(end,
			      p->guest_off +
				      ((uint64_t)(64 - __builtin_clzll(moves))
				       << bits));
	return end;
}

/* Alloc bits of the subclusters of this cluster that the range touches. */
static uint64_t touched(const struct image *img, const struct entry_plan *p,
			uint64_t data_off, uint64_t data_len)
{
	uint32_t bits = img->geo.subcluster_bits;
	uint64_t end = p->guest_off + img->geo.cluster_size;
	uint64_t from = max_u64(data_off, p->guest_off) - p->guest_off;
	uint64_t to = min_u64(data_off + data_len, end) - p->guest_off;

	return (SUB_ALLOC((to - 1) >> bits) << 1) - SUB_ALLOC(from >> bits);
}

struct l2_entry entry_new(const struct image *img, const struct entry_plan *p,
			  uint64_t host_off, uint64_t data_off,
			  uint64_t data_len)
{
	struct l2_entry e = { host_off | ENTRY_COPIED, 0 };
	uint64_t alloc;

	if (!img->geo.extended_l2)
		return e;
	if (p->copy_all) {
		e.bitmap = SUB_ALL_ALLOC;
		return e;
	}
	alloc = touched(img, p, data_off, data_len);
	e.bitmap = (p->old.bitmap | alloc) & ~(alloc << 32);
	return e;
}

void entry_free(struct image *img, struct l2_entry old, bool punch)
{
	struct write_entry_run r = write_entry_clusters_of(img, old);

	if (r.n)
		commit_free(&img->writer->commit,
			    (struct freed){ r.host_off, r.n, punch });
}
