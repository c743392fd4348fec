#include "write/look.h"

#include "base/checked.h"
#include "image/image.h"
#include "store/store.h"

/* Bytes that can be overwritten where they are go on as long as their host
 * bytes do. */
static bool in_place_goes_on(const struct image *img, struct l2_entry e,
			     uint64_t room, struct look *l)
{
	uint64_t at = l->off + l->len;
	uint64_t host_off = entry_host(&img->geo, e, at);

	if (!room || (l->len && host_off != l->host_off + l->len))
		return false;
	if (l->len == 0)
		l->host_off = host_off;
	l->len += room;
	return geometry_in_cluster(&img->geo, at + room) == 0;
}

/* Clusters that need a new place go on to the first that has its own. */
static bool new_goes_on(const struct image *img, struct l2_entry e,
			uint64_t room, struct look *l)
{
	const struct geometry *g = &img->geo;
	uint64_t at = l->off + l->len;
	struct entry_plan p;

	entry_plan_init(img, &p, e, align_down(at, g->cluster_size));
	if (l->len && (p.keeps_host || room))
		return false;
	if (l->len == 0)
		l->first = p;
	l->last = p;
	l->reads_zero &= p.reads_zero;
	l->n_fresh += l->n_fresh == l->n_clusters && e.desc == 0 &&
		      e.bitmap == 0;
	l->n_clusters++;
	l->len += g->cluster_size - geometry_in_cluster(g, at);
	return !p.keeps_host;
}

/* Takes the entry of the byte behind what @l has; false when that ended it. */
static bool look_goes_on(const struct image *img, struct l2_entry e,
			 struct look *l)
{
	uint64_t room = entry_in_place(img, e, l->off + l->len);

	if (l->len == 0)
		l->kind = room ? LOOK_IN_PLACE : LOOK_NEW;
	if (l->kind == LOOK_IN_PLACE)
		return in_place_goes_on(img, e, room, l);
	return new_goes_on(img, e, room, l);
}

static int look_at_window(struct image *img, const struct map_window *w,
			  uint64_t len, struct look *l, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; i < w->n_entries && l->len < len; i++) {
		struct l2_entry e = map_window_entry(w, &img->geo, i);

		rc = entry_check(img, e, l->off + l->len, err);
		if (rc < 0 || !look_goes_on(img, e, l))
			break;
	}
	return l->len ? 0 : rc;
}

int look_at(struct image *img, uint64_t len, uint64_t off, unsigned flags,
	    struct look *out, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct map_window w;
	int rc = map_window_get(&img->map, off + len, off, store_nowait(flags),
				&w, err);

	*out = (struct look){ .kind = LOOK_NO_TABLE,
			      .off = off,
			      .reads_zero = true };
	if (rc < 0)
		return rc;
	if (w.slice)
		rc = look_at_window(img, &w, len, out, err);
	else
		out->len = (w.n_entries << g->cluster_bits) -
			   geometry_in_cluster(g, off);
	out->len = min_u64(out->len, len);
	map_window_put(&img->map, &w);
	return rc;
}
