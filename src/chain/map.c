/*
 * The map of a chain: one maximal extent per call.
 *
 * An extent is found by asking the layers from the top down and is then grown
 * as long as what follows is the same.  A layer that has another one below is
 * asked for a limited window at a time, which doubles as long as the extent
 * grows: otherwise every small extent of a lower layer would cost a scan over
 * a large empty upper one.
 */
#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "chain/disk_impl.h"
#include "store/store.h"

#define WINDOW_BYTES_FIRST (UINT64_C(1) << 20)

static uint32_t flags_of(const struct image *img, const struct image_extent *x,
			 bool hole)
{
	bool off = x->host_off || img->geo.has_data_file;
	uint32_t host = off && !image_is_encrypted(img) ? QCOW2_EXTENT_HOST_OFF
							: 0;

	switch (x->kind) {
	case SUBCLUSTER_NORMAL:
		return QCOW2_EXTENT_DATA | QCOW2_EXTENT_PRESENT | host |
		       (hole ? QCOW2_EXTENT_ZERO : 0);
	case SUBCLUSTER_ZERO_ALLOC:
		return QCOW2_EXTENT_ZERO | QCOW2_EXTENT_PRESENT | host;
	case SUBCLUSTER_ZERO_PLAIN:
		return QCOW2_EXTENT_ZERO | QCOW2_EXTENT_PRESENT;
	case SUBCLUSTER_COMPRESSED:
		return QCOW2_EXTENT_DATA | QCOW2_EXTENT_PRESENT |
		       QCOW2_EXTENT_COMPRESSED;
	case SUBCLUSTER_UNALLOCATED_ALLOC:
		return host;
	default:
		return 0;
	}
}

static int map_image(struct disk *d, uint32_t depth, uint64_t len, uint64_t off,
		     struct qcow2_extent *out, struct qcow2_error *err)
{
	struct image *img = d->layers[depth].image;
	struct image_extent x;
	bool hole;
	int rc = image_allow_walk(img, err);

	if (rc == 0)
		rc = image_map(img, len, off, 0, &x, err);
	if (rc == 0)
		rc = image_split_holes(img, &x, &hole, err);
	if (rc < 0)
		return rc;
	*out = (struct qcow2_extent){ .off = off,
				      .len = x.len,
				      .flags = flags_of(img, &x, hole),
				      .depth = depth };
	if (out->flags & QCOW2_EXTENT_HOST_OFF)
		out->host_off = x.host_off;
	return 0;
}

static int map_raw(struct disk *d, uint32_t depth, uint64_t len, uint64_t off,
		   struct qcow2_extent *out, struct qcow2_error *err)
{
	bool is_data;
	int rc = store_extent(d->layers[depth].store, &len, off, &is_data, err);

	*out = (struct qcow2_extent){
		.off = off,
		.len = len,
		.host_off = off,
		.flags = QCOW2_EXTENT_PRESENT | QCOW2_EXTENT_HOST_OFF |
			 (is_data ? QCOW2_EXTENT_DATA : QCOW2_EXTENT_ZERO),
		.depth = depth,
	};
	return rc;
}

static bool is_open_question(const struct qcow2_extent *x)
{
	return !(x->flags & (QCOW2_EXTENT_DATA | QCOW2_EXTENT_ZERO));
}

/* True when a backing file is named below but was left unopened, so that
 * nobody knows what is there. */
static bool is_cut_off(const struct disk *d, const struct layer *l)
{
	return d->metadata_only && l->image && l->image->names.backing_file;
}

/* What the layers from @depth down say about the bytes at @off. */
static int map_from(struct disk *d, uint32_t depth, uint64_t len, uint64_t off,
		    unsigned flags, struct qcow2_extent *out,
		    struct qcow2_error *err)
{
	for (;; depth++) {
		const struct layer *l = &d->layers[depth];
		bool last = depth + 1 == d->n_layers;
		int rc = l->image ? map_image(d, depth, len, off, out, err)
				  : map_raw(d, depth, len, off, out, err);

		if (rc < 0)
			return error_in_layer(err, rc, depth);
		if (!is_open_question(out))
			return 0;
		if ((!last && (flags & QCOW2_MAP_TOP_ONLY)) || is_cut_off(d, l))
			return 0;
		if (last || off >= l[1].size) {
			out->flags |= QCOW2_EXTENT_ZERO;
			return 0;
		}
		len = min_u64(out->len, l[1].size - off);
	}
}

bool disk_reads_zero_from(struct disk *d, uint32_t depth, uint64_t len,
			  uint64_t off)
{
	while (len) {
		struct qcow2_extent x;

		if (map_from(d, depth, len, off, 0, &x, NULL) < 0 ||
		    !(x.flags & QCOW2_EXTENT_ZERO))
			return false;
		len -= x.len;
		off += x.len;
	}
	return true;
}

static bool continues(const struct qcow2_extent *a,
		      const struct qcow2_extent *b)
{
	return a->flags == b->flags && a->depth == b->depth &&
	       (!(a->flags & QCOW2_EXTENT_HOST_OFF) ||
		a->host_off + a->len == b->host_off);
}

int disk_map(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
	     struct qcow2_extent *out, struct qcow2_error *err)
{
	uint64_t window = d->n_layers > 1 ? WINDOW_BYTES_FIRST : len;
	int rc = map_from(d, 0, min_u64(window, len), off, flags, out, err);

	while (rc == 0 && out->len < len) {
		struct qcow2_extent next;
		uint64_t left = len - out->len;

		window = window > left / 2 ? left : window * 2;
		/* Damage further on is the next call's to report. */
		if (map_from(d, 0, min_u64(window, left), off + out->len, flags,
			     &next, NULL) < 0)
			break;
		if (!continues(out, &next))
			break;
		out->len += next.len;
	}
	return rc;
}

struct qcow2_store *disk_extent_store(struct disk *d,
				      const struct qcow2_extent *extent)
{
	const struct layer *l = &d->layers[extent->depth];
	uint32_t want = QCOW2_EXTENT_DATA | QCOW2_EXTENT_HOST_OFF;

	if ((extent->flags & want) != want)
		return NULL;
	return l->image ? l->image->data : l->store;
}
