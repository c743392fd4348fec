/*
 * Writing to a qcow2 layer.
 */
#include "chain/carry.h"
#include "chain/qcow2_layer.h"
#include "image/image.h"
#include "write/place.h"
#include "write/writer.h"

/* ---- Guest writes -------------------------------------------------------- */

static int read_below(void *opaque, struct iov_cursor *dst, uint64_t len,
		      uint64_t off, struct qcow2_error *err)
{
	return layer_read(opaque, dst, len, off, 0, err);
}

static bool below_is_zero(void *opaque, uint64_t len, uint64_t off)
{
	return layer_reads_zero(opaque, len, off);
}

static void qcow2_layer_set_below(struct layer *l, struct layer *below)
{
	l->image->writer->below =
		(struct below){ read_below, below, below->size, below_is_zero };
}

static int qcow2_layer_start(struct layer *l,
			     const struct qcow2_open_opts *opts,
			     struct qcow2_error *err)
{
	int rc = writer_open(l->image, opts, err);

	/* A writer that opened in part is there until the image closes. */
	if (l->image->writer && l->below)
		qcow2_layer_set_below(l, l->below);
	return rc;
}

static int qcow2_layer_pwritev(struct layer *l, const struct iovec *iov,
			       int iovcnt, uint64_t off, unsigned flags,
			       struct qcow2_error *err)
{
	return image_pwritev(l->image, iov, iovcnt, off, flags, err);
}

static int qcow2_layer_zero(struct layer *l, uint64_t len, uint64_t off,
			    unsigned flags, struct qcow2_error *err)
{
	return image_zero(l->image, len, off, flags, err);
}

static int qcow2_layer_discard(struct layer *l, uint64_t len, uint64_t off,
			       unsigned flags, struct qcow2_error *err)
{
	return image_discard(l->image, len, off, flags, err);
}

static int qcow2_layer_flush(struct layer *l, struct qcow2_error *err)
{
	return image_flush(l->image, err);
}

static int qcow2_layer_recover(struct layer *l, struct qcow2_error *err)
{
	return image_recover(l->image, err);
}

/* ---- Carried writes ------------------------------------------------------ */

static int qcow2_layer_begin_write(struct layer *l, uint64_t len, uint64_t off,
				   struct carried *c, struct qcow2_error *err)
{
	int rc = carried_write_begin(l->image, len, off, &c->write, err);

	if (rc == 0)
		c->transfer.off = c->write.host_off;
	return rc;
}

static int qcow2_layer_end_write(struct carried *c, int rc, unsigned flags,
				 struct qcow2_error *err)
{
	return carried_write_end(&c->write, rc, flags, err);
}

static void qcow2_layer_add_carrier(struct layer *l,
				    struct inflight_carrier *carrier)
{
	inflight_add_carrier(&l->image->writer->inflight, carrier);
}

static void qcow2_layer_remove_carrier(struct layer *l,
				       struct inflight_carrier *carrier)
{
	inflight_remove_carrier(&l->image->writer->inflight, carrier);
}

const struct layer_write_ops qcow2_layer_write_ops = {
	.start = qcow2_layer_start,
	.set_below = qcow2_layer_set_below,
	.pwritev = qcow2_layer_pwritev,
	.zero = qcow2_layer_zero,
	.discard = qcow2_layer_discard,
	.flush = qcow2_layer_flush,
	.recover = qcow2_layer_recover,
	.begin = qcow2_layer_begin_write,
	.end = qcow2_layer_end_write,
	.add_carrier = qcow2_layer_add_carrier,
	.remove_carrier = qcow2_layer_remove_carrier,
	.resize = qcow2_layer_resize,
};

/* ---- Compressed clusters ------------------------------------------------- */

static int qcow2_layer_write_compressed(struct layer *l, const void *buf,
					uint64_t len, uint64_t off,
					struct qcow2_error *err)
{
	return image_write_compressed(l->image, buf, len, off, err);
}

static int qcow2_layer_encode(struct layer *l, void *dst, const void *src,
			      size_t *n, struct qcow2_error *err)
{
	return image_encode(l->image, dst, src, n, err);
}

static int qcow2_layer_write_encoded(struct layer *l, const void *bytes,
				     size_t n, const void *cluster,
				     uint64_t off, struct qcow2_error *err)
{
	return image_write_encoded(l->image, bytes, n, cluster, off, err);
}

static bool qcow2_layer_packed(struct layer *l, uint64_t off, uint64_t *desc)
{
	struct image_extent x;

	if (image_map(l->image, 1, off, 0, &x, NULL) < 0 ||
	    x.kind != SUBCLUSTER_COMPRESSED)
		return false;
	*desc = x.desc;
	return true;
}

static int qcow2_layer_set_level(struct layer *l, uint32_t level, uint32_t *old,
				 struct qcow2_error *err)
{
	return image_set_level(l->image, level, old, err);
}

const struct layer_encode_ops qcow2_layer_encode_ops = {
	.write = qcow2_layer_write_compressed,
	.encode = qcow2_layer_encode,
	.write_encoded = qcow2_layer_write_encoded,
	.packed = qcow2_layer_packed,
	.set_level = qcow2_layer_set_level,
};

/* ---- Places: see write/place.h ------------------------------------------- */

static int qcow2_layer_place(struct layer *l, uint64_t len, uint64_t off,
			     uint64_t *here, uint64_t *host_off,
			     struct qcow2_error *err)
{
	return image_place(l->image, len, off, here, host_off, err);
}

static int qcow2_layer_place_encoded(struct layer *l, size_t len, uint64_t off,
				     uint64_t *host_off,
				     struct qcow2_error *err)
{
	return image_place_encoded(l->image, len, off, host_off, err);
}

static int qcow2_layer_write_placed(struct layer *l, const struct iovec *iov,
				    int iovcnt, uint64_t host_off,
				    struct qcow2_error *err)
{
	return image_write_placed(l->image, iov, iovcnt, host_off, err);
}

const struct layer_place_ops qcow2_layer_place_ops = {
	.place = qcow2_layer_place,
	.place_encoded = qcow2_layer_place_encoded,
	.write = qcow2_layer_write_placed,
};
