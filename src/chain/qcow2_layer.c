/*
 * A qcow2 image as a layer, with its data file.
 */
#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "chain/carry.h"
#include "chain/disk.h"
#include "chain/qcow2_layer.h"
#include "chain/watch.h"
#include "format/header.h"
#include "image/image.h"
#include "repair/repair.h"
#include "write/writer.h"

/* ---- Open, close --------------------------------------------------------- */

static int find_data_file(struct layer *l, const struct layer_opening *o,
			  struct gate_file *out, struct qcow2_error *err)
{
	struct qcow2_reference ref = {
		.kind = QCOW2_REFERENCE_DATA_FILE,
		.name = l->image->names.data_file,
		.format = "raw",
		.image = store_name(l->store),
		.depth = o->depth,
	};
	struct gate_request request = { &l->dir, &ref,
					layer_store_flags(o->opts, o->depth) };

	if (!o->made || o->depth)
		return gate_open(o->opts->gate, &request, out, err);
	*out = (struct gate_file){ store_ref(o->made->data), GATE_DIR_NONE };
	return 0;
}

static int attach_data_file(struct layer *l, const struct layer_opening *o,
			    struct qcow2_error *err)
{
	struct gate_file data;
	int rc = find_data_file(l, o, &data, err);

	if (rc < 0)
		return rc;
	rc = identities_add(o->ids, data.store, err);
	if (rc == 0)
		rc = layer_hold(&l->data_hold, data.store, o, err);
	if (rc == 0)
		rc = image_attach_data(l->image, data.store, err);
	gate_file_release(&data);
	return rc;
}

/* Zeros when it cannot be read: opening the image will say so. */
static struct header_peek peek(struct qcow2_store *store)
{
	uint8_t raw[HEADER_PEEK_BYTES];

	if (store_pread(store, raw, sizeof(raw), 0, 0, NULL) < 0)
		return (struct header_peek){ 0 };
	return header_peek(raw);
}

/*
 * Counts the refcounts of a dirty image anew, before it is opened for writing.
 * Without the lock the image may be dirty because another program writes it.
 * If the repair fails the bit stays, and the image is refused.
 */
static int settle_dirty(struct layer *l, const struct layer_opening *o,
			struct qcow2_error *err)
{
	struct qcow2_check_opts check = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	int rc;

	if (!layer_is_written(o) ||
	    (o->opts->flags & (QCOW2_OPEN_NO_LOCK | QCOW2_OPEN_NO_REPAIR)) ||
	    !peek(l->store).is_dirty)
		return 0;
	check.budget = o->opts->budget;
	check.progress = o->opts->progress;
	check.opaque = o->opts->opaque;
	rc = repair_store(l->store, &check, REPAIR_REFCOUNTS, &result, err);
	if (rc < 0)
		return error_prefix(err, rc,
				    "the image was not closed "
				    "properly, and repairing its refcounts "
				    "failed");
	watch_repaired(o->events,
		       result.leaks_fixed + result.corruptions_fixed);
	return 0;
}

/* The options concern the top image, whose cluster size the caller can know;
 * the others take as much of them as fits. */
static void fit(struct qcow2_open_opts *own, struct qcow2_store *store)
{
	uint32_t cluster_size;

	own->flags &= ~QCOW2_OPEN_RDWR;
	own->snapshot = NULL;
	if (!own->l2_slice_bytes)
		return;
	cluster_size = peek(store).cluster_size;
	if (cluster_size)
		own->l2_slice_bytes =
			min_u64(own->l2_slice_bytes, cluster_size);
}

static int qcow2_layer_open(struct layer *l, const struct layer_opening *o,
			    struct qcow2_error *err)
{
	struct qcow2_open_opts own = *o->opts;
	int rc;

	if (o->depth > 0)
		fit(&own, l->store);
	rc = settle_dirty(l, o, err);
	if (rc == 0)
		rc = image_open(l->store, &own, &l->image, err);
	if (rc < 0)
		return rc;
	l->size = l->image->virtual_size;
	l->cluster_size = l->image->geo.cluster_size;
	l->subcluster_size = UINT32_C(1) << l->image->geo.subcluster_bits;
	l->has_data_file = l->image->geo.has_data_file;
	/* Refcounts do not protect the clusters of a data file. */
	l->is_snapshot = own.snapshot && !l->has_data_file;
	if (l->has_data_file && !(own.flags & QCOW2_OPEN_METADATA_ONLY))
		rc = attach_data_file(l, o, err);
	l->data = l->image->data;
	return rc;
}

static int qcow2_layer_close(struct layer *l, struct qcow2_error *err)
{
	int rc = l->image ? writer_close(l->image, err) : 0;

	image_close(l->image);
	l->image = NULL;
	store_release(&l->data_hold);
	return rc;
}

static bool qcow2_layer_backing(const struct layer *l,
				struct qcow2_reference *ref)
{
	ref->name = l->image->names.backing_file;
	ref->format = l->image->names.backing_format;
	return ref->name != NULL;
}

/* ---- Map, read ----------------------------------------------------------- */

static uint32_t qcow2_layer_flags_of(const struct image *img,
				     const struct image_extent *x, bool hole)
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

static int qcow2_layer_map(struct layer *l, uint64_t len, uint64_t off,
			   struct qcow2_extent *out, struct qcow2_error *err)
{
	struct image *img = l->image;
	struct grace_ref ref = writer_grace_begin(img);
	struct image_extent x;
	bool hole;
	int rc = image_allow_walk(img, err);

	if (rc == 0)
		rc = image_map(img, len, off, 0, &x, err);
	writer_grace_end(ref);
	if (rc == 0)
		rc = image_split_holes(img, &x, &hole, err);
	if (rc < 0)
		return rc;
	*out = (struct qcow2_extent){ .off = off,
				      .len = x.len,
				      .flags = qcow2_layer_flags_of(img, &x,
								    hole) };
	if (out->flags & QCOW2_EXTENT_HOST_OFF)
		out->host_off = x.host_off;
	return 0;
}

static bool is_unallocated(enum subcluster_kind kind)
{
	return kind == SUBCLUSTER_UNALLOCATED_PLAIN ||
	       kind == SUBCLUSTER_UNALLOCATED_ALLOC;
}

static int qcow2_layer_read(struct layer *l, struct iov_cursor *dst,
			    uint64_t len, uint64_t off, unsigned flags,
			    struct qcow2_error *err)
{
	struct image *img = l->image;

	while (len) {
		struct grace_ref ref = writer_grace_begin(img);
		struct image_extent x;
		int rc = image_map(img, len, off, flags, &x, err);

		if (rc == 0 && is_unallocated(x.kind))
			rc = layer_read_below(l, dst, x.len, off, flags, err);
		else if (rc == 0)
			rc = image_read(img, dst, x.len, off, &x, flags, err);
		writer_grace_end(ref);
		if (rc < 0)
			return rc;
		len -= x.len;
		off += x.len;
	}
	return 0;
}

/* The extent @x has all the bytes. */
static int begin_read_extent(struct layer *l, const struct image_extent *x,
			     uint64_t off, struct carried *c,
			     struct qcow2_error *err)
{
	switch (x->kind) {
	case SUBCLUSTER_NORMAL:
		c->transfer.store = l->data;
		c->transfer.off = x->host_off;
		return 0;
	case SUBCLUSTER_ZERO_PLAIN:
	case SUBCLUSTER_ZERO_ALLOC:
		return 0;
	case SUBCLUSTER_UNALLOCATED_PLAIN:
	case SUBCLUSTER_UNALLOCATED_ALLOC:
		return layer_begin_read(l->below, x->len, off, c, err);
	default:
		return error_set(err, -EAGAIN, "the bytes are compressed");
	}
}

/* Only the top layer is written, and has a grace period. */
static int qcow2_layer_begin_read(struct layer *l, uint64_t len, uint64_t off,
				  struct carried *c, struct qcow2_error *err)
{
	struct grace_ref ref = writer_grace_begin(l->image);
	struct image_extent x;
	int rc = image_map(l->image, len, off, QCOW2_NOWAIT, &x, err);

	if (rc == 0 && x.len < len)
		rc = error_set(err, -EAGAIN, "the bytes are not in one place");
	if (rc == 0)
		rc = begin_read_extent(l, &x, off, c, err);
	if (rc < 0)
		writer_grace_end(ref);
	else if (ref.slot)
		c->grace = ref;
	return rc;
}

static void qcow2_layer_get_info(struct layer *l, struct qcow2_info *out)
{
	image_get_info(l->image, out);
	writer_get_info(l->image, out);
	out->virtual_size = l->size;
}

static void qcow2_layer_get_stats(const struct layer *l,
				  struct qcow2_stats *out)
{
	/* In this order: the writer may have to read. */
	writer_get_stats(l->image, out);
	image_get_stats(l->image, out);
}

static void qcow2_layer_get_health(struct layer *l, struct layer_health *out)
{
	struct writer *writer = l->image->writer;

	if (!writer)
		return;
	out->dead = commit_poisoned(&writer->commit);
	out->is_corrupt = out->dead && image_is_marked_corrupt(l->image);
	out->is_unproved = writer->proof.state == PROOF_FAILED;
	out->n_raised = writer->proof.n_raised;
	out->used_end = *refcounts_used_end_mark(&writer->refs);
}

static void qcow2_layer_find_used_end(struct layer *l)
{
	refcounts_allocated_end(&l->image->writer->refs);
}

static void qcow2_layer_validate(const struct layer *l)
{
	const struct image *img = l->image;

	assert(img && img->file == l->store && img->data == l->data);
	/* A disk that grows says so when it has. */
	assert(l->size <= img->virtual_size);
	assert(l->cluster_size == img->geo.cluster_size);
	assert(l->subcluster_size == UINT32_C(1) << img->geo.subcluster_bits);
	assert(l->has_data_file == img->geo.has_data_file);
	assert(implies(l->data_hold.store, l->has_data_file));
	assert(implies(img->writer, l->depth == 0));
	assert(implies(l->is_snapshot, l->depth == 0 && !img->writer));
	assert(implies(img->writer && l->below,
		       img->writer->below.opaque == l->below));
}

static bool qcow2_layer_get_bitmap(const struct layer *l, uint32_t index,
				   struct qcow2_bitmap_info *out)
{
	const struct bitmaps *all = &l->image->bitmaps;

	if (index >= all->n)
		return false;
	out->name = all->list[index].name;
	out->granularity = UINT64_C(1) << all->list[index].granularity_bits;
	out->flags = all->list[index].flags;
	return true;
}

static const char *qcow2_layer_feature_name(const struct layer *l,
					    unsigned type, unsigned bit)
{
	return names_feature(&l->image->names, type, bit);
}

static int qcow2_layer_read_luks(struct layer *l, struct luks_header *out,
				 struct qcow2_error *err)
{
	return luks_read(&l->image->luks, l->store, out, err);
}

static const struct layer_watch_ops qcow2_layer_watch_ops = {
	.get_stats = qcow2_layer_get_stats,
	.get_health = qcow2_layer_get_health,
	.find_used_end = qcow2_layer_find_used_end,
};

const struct layer_ops qcow2_layer_ops = {
	.format = QCOW2_FORMAT_QCOW2,
	.name = "qcow2",
	.open = qcow2_layer_open,
	.close = qcow2_layer_close,
	.backing = qcow2_layer_backing,
	.map = qcow2_layer_map,
	.read = qcow2_layer_read,
	.begin_read = qcow2_layer_begin_read,
	.get_info = qcow2_layer_get_info,
	.watch = &qcow2_layer_watch_ops,
	.validate = qcow2_layer_validate,
	.get_bitmap = qcow2_layer_get_bitmap,
	.feature_name = qcow2_layer_feature_name,
	.read_luks = qcow2_layer_read_luks,
	.write = &qcow2_layer_write_ops,
	.encode = &qcow2_layer_encode_ops,
	.place = &qcow2_layer_place_ops,
	.snapshot = &qcow2_layer_snapshot_ops,
	.amend = qcow2_layer_amend,
	.compact = qcow2_layer_compact,
};
