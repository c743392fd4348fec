#include "chain/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "format/header.h"
#include "repair/repair.h"
#include "store/store.h"
#include "write/writer.h"

static bool is_written(const struct qcow2_open_opts *opts, uint32_t depth)
{
	return depth == 0 && (opts->flags & QCOW2_OPEN_RDWR);
}

unsigned layer_store_flags(const struct qcow2_open_opts *opts, uint32_t depth)
{
	unsigned flags = opts->flags & QCOW2_OPEN_DIRECT ? QCOW2_STORE_DIRECT
							 : 0;

	if (opts->flags & QCOW2_OPEN_NO_FLUSH)
		flags |= QCOW2_STORE_NO_FLUSH;
	return is_written(opts, depth) ? flags | QCOW2_STORE_RDWR : flags;
}

int identities_add(struct identities *ids, struct qcow2_store *store,
		   struct qcow2_error *err)
{
	struct store_identity *list;
	struct store_identity own;

	if (!store_identity(store, &own))
		return 0;
	for (uint32_t i = 0; i < ids->n; i++)
		if (store_identity_equal(ids->list[i], own))
			return error_set(err, -ELOOP,
					 "%s is already open in this chain: an "
					 "image must not refer to itself or "
					 "to one that refers to it",
					 TEXT(store_name(store),
					      strlen(store_name(store))));
	list = alloc_resized(ids->list, (ids->n + UINT64_C(1)) * sizeof(*list));
	if (!list)
		return error_nomem(err, "the list of files", ids->n);
	list[ids->n++] = own;
	ids->list = list;
	return 0;
}

/* A store of the layer, to be used as it will be. */
static int hold_store(struct store_hold *hold, struct qcow2_store *store,
		      const struct layer_opening *o, struct qcow2_error *err)
{
	bool writes = is_written(o->opts, o->depth);
	unsigned how = writes ? HOLD_WRITE : HOLD_READ;
	int rc = writes ? store_check_writable(store, err) : 0;

	if (rc < 0 || (o->opts->flags & QCOW2_OPEN_NO_LOCK))
		return rc;
	if (o->opts->flags & QCOW2_OPEN_NEED_LOCK)
		how |= HOLD_NEEDS_LOCK;
	return store_hold(hold, store, how, err);
}

static int peek(struct qcow2_store *store, struct header_peek *out,
		struct qcow2_error *err)
{
	uint8_t raw[HEADER_PEEK_BYTES];
	int rc = store_pread(store, raw, sizeof(raw), 0, 0, err);

	*out = rc == 0 ? header_peek(raw) : (struct header_peek){ 0 };
	return rc;
}

static int probe(struct qcow2_store *store, enum qcow2_format *format,
		 struct qcow2_error *err)
{
	struct header_peek header;
	int rc = peek(store, &header, err);

	*format = header.is_qcow2 ? QCOW2_FORMAT_QCOW2 : QCOW2_FORMAT_RAW;
	return rc;
}

static int attach_data_file(struct layer *l, const struct layer_opening *o,
			    struct qcow2_error *err)
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
	struct gate_file data;
	int rc = gate_open(o->opts->gate, &request, &data, err);

	if (rc < 0)
		return rc;
	rc = identities_add(o->ids, data.store, err);
	if (rc == 0)
		rc = hold_store(&l->data_hold, data.store, o, err);
	if (rc == 0)
		rc = image_attach_data(l->image, data.store, err);
	gate_file_release(&data);
	return rc;
}

static bool is_dirty(struct qcow2_store *store)
{
	struct header_peek header;

	return peek(store, &header, NULL) == 0 && header.is_dirty;
}

/*
 * Counts the refcounts of a dirty image anew, before it is opened for writing.
 * Without the lock somebody else may be the one who has it dirty.  What cannot
 * be repaired leaves the bit, and the image is refused.
 */
static int settle_dirty(struct layer *l, const struct layer_opening *o,
			struct qcow2_error *err)
{
	struct qcow2_check_opts check = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	int rc;

	if (!is_written(o->opts, o->depth) ||
	    (o->opts->flags & (QCOW2_OPEN_NO_LOCK | QCOW2_OPEN_NO_REPAIR)) ||
	    !is_dirty(l->store))
		return 0;
	check.budget = o->opts->budget;
	rc = repair_store(l->store, &check, REPAIR_REFCOUNTS, &result, err);
	if (rc < 0)
		return error_prefix(err, rc,
				    "the image was not closed "
				    "properly, and repairing its refcounts "
				    "failed");
	return 0;
}

/* What is asked for concerns the top image, whose cluster size the caller can
 * know; the others take as much of it as fits them. */
static void fit(struct qcow2_open_opts *own, struct qcow2_store *store)
{
	struct header_peek header;

	own->flags &= ~QCOW2_OPEN_RDWR;
	own->snapshot = NULL;
	if (own->l2_slice_bytes && peek(store, &header, NULL) == 0 &&
	    header.cluster_size)
		own->l2_slice_bytes =
			min_u64(own->l2_slice_bytes, header.cluster_size);
}

static int open_qcow2(struct layer *l, const struct layer_opening *o,
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
	if (!l->image->geo.has_data_file ||
	    (own.flags & QCOW2_OPEN_METADATA_ONLY))
		return 0;
	return attach_data_file(l, o, err);
}

static int open_raw(struct layer *l, const struct layer_opening *o,
		    struct qcow2_error *err)
{
	uint64_t size_max = o->opts->budget.virtual_bytes;

	if (o->depth == 0 && o->opts->snapshot)
		return error_set(err, -EINVAL,
				 "%s: a raw image has no snapshots",
				 TEXT(store_name(l->store),
				      strlen(store_name(l->store))));
	if (size_max && store_size(l->store, &l->size, NULL) == 0 &&
	    l->size > size_max)
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "%s is larger than the budget allows",
				    TEXT(store_name(l->store),
					 strlen(store_name(l->store))));
	return store_size(l->store, &l->size, err);
}

static int open_format(struct layer *l, const struct layer_opening *o,
		       struct qcow2_error *err)
{
	enum qcow2_format format = o->format;
	int rc = identities_add(o->ids, l->store, err);

	if (rc == 0)
		rc = hold_store(&l->hold, l->store, o, err);
	if (rc == 0 && format == QCOW2_FORMAT_PROBE)
		rc = probe(l->store, &format, err);
	if (rc < 0)
		return rc;
	if (format == QCOW2_FORMAT_RAW)
		return open_raw(l, o, err);
	return open_qcow2(l, o, err);
}

int layer_open(struct layer *l, const struct layer_opening *o,
	       struct qcow2_error *err)
{
	int rc;

	*l = (struct layer){ .store = o->file.store, .dir = o->file.dir };
	rc = open_format(l, o, err);
	if (rc == 0)
		return 0;
	layer_close(l, NULL);
	return error_in_layer(err, rc, o->depth);
}

int layer_close(struct layer *l, struct qcow2_error *err)
{
	int rc = l->image ? writer_close(l->image, err) : 0;

	image_close(l->image);
	store_release(&l->data_hold);
	store_release(&l->hold);
	store_unref(l->store);
	gate_dir_release(&l->dir);
	l->image = NULL;
	l->store = NULL;
	return rc;
}
