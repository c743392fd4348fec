/*
 * The map of a chain: one maximal extent per call.
 *
 * An extent is found by asking the layers from the top down and is then grown
 * as long as what follows is the same.  A layer that has another one below is
 * asked for a limited window at a time, which doubles as long as the extent
 * grows: otherwise every small extent of a lower layer would cost a scan over
 * a large empty upper one.
 */
#include "base/checked.h"
#include "base/error.h"
#include "chain/disk_impl.h"

#define WINDOW_BYTES_FIRST (UINT64_C(1) << 20)

static bool is_open_question(const struct qcow2_extent *x)
{
	return !(x->flags & (QCOW2_EXTENT_DATA | QCOW2_EXTENT_ZERO));
}

int layer_map(struct layer *l, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_extent *out, struct qcow2_error *err)
{
	for (;; l = l->below) {
		int rc = l->ops->map(l, len, off, out, err);

		if (rc < 0)
			return error_in_layer(err, rc, l->depth);
		out->depth = l->depth;
		if (!is_open_question(out))
			return 0;
		if ((l->below && (flags & QCOW2_MAP_TOP_ONLY)) ||
		    l->below_unknown)
			return 0;
		if (!l->below || off >= l->below->size) {
			out->flags |= QCOW2_EXTENT_ZERO;
			return 0;
		}
		len = min_u64(out->len, l->below->size - off);
	}
}

/* The same, without the place when nobody asks for it. */
static int map_from(struct layer *l, uint64_t len, uint64_t off, unsigned flags,
		    struct qcow2_extent *out, struct qcow2_error *err)
{
	int rc = layer_map(l, len, off, flags, out, err);

	if (rc == 0 && (flags & QCOW2_MAP_MERGE)) {
		out->flags &= ~QCOW2_EXTENT_HOST_OFF;
		out->host_off = 0;
	}
	return rc;
}

bool layer_reads_zero(struct layer *l, uint64_t len, uint64_t off)
{
	while (len) {
		struct qcow2_extent x;

		if (map_from(l, len, off, 0, &x, NULL) < 0 ||
		    !(x.flags & QCOW2_EXTENT_ZERO))
			return false;
		len -= x.len;
		off += x.len;
	}
	return true;
}

static bool chain_map_continues(const struct qcow2_extent *a,
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
	struct layer *top = &d->layers[0];
	int rc = map_from(top, min_u64(window, len), off, flags, out, err);

	while (rc == 0 && out->len < len) {
		struct qcow2_extent next;
		uint64_t left = len - out->len;

		window = window > left / 2 ? left : window * 2;
		/* Damage further on is the next call's to report. */
		if (map_from(top, min_u64(window, left), off + out->len, flags,
			     &next, NULL) < 0)
			break;
		if (!chain_map_continues(out, &next))
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
	return l->data;
}
