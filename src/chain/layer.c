/*
 * Opening and closing a layer of any kind.
 */
#include "chain/layer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "chain/requests.h"
#include "format/header.h"
#include "store/store.h"

/* All kinds of layer there are. */
static const struct layer_ops *const kinds[] = {
	&qcow2_layer_ops,
	&raw_layer_ops,
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct layer_ops *find_kind(enum qcow2_format format)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (kinds[i]->format == format)
			return kinds[i];
	return NULL;
}

bool layer_find_format(const char *name, enum qcow2_format *format)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (strcmp(kinds[i]->name, name) == 0) {
			*format = kinds[i]->format;
			return true;
		}
	return false;
}

bool layer_is_written(const struct layer_opening *o)
{
	return o->depth == 0 && (o->opts->flags & QCOW2_OPEN_RDWR);
}

unsigned layer_store_flags(const struct qcow2_open_opts *opts, uint32_t depth)
{
	unsigned flags = opts->flags & QCOW2_OPEN_DIRECT ? QCOW2_STORE_DIRECT
							 : 0;

	if (opts->flags & QCOW2_OPEN_NO_FLUSH)
		flags |= QCOW2_STORE_NO_FLUSH;
	if (depth == 0 && (opts->flags & QCOW2_OPEN_RDWR))
		flags |= QCOW2_STORE_RDWR;
	return flags;
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

int layer_hold(struct store_hold *hold, struct qcow2_store *store,
	       const struct layer_opening *o, struct qcow2_error *err)
{
	bool writes = layer_is_written(o);
	unsigned how = writes ? HOLD_WRITE : HOLD_READ;
	int rc = writes ? store_check_writable(store, err) : 0;

	if (rc < 0 || (o->opts->flags & QCOW2_OPEN_NO_LOCK) ||
	    (o->made && o->depth == 0))
		return rc;
	if (o->opts->flags & QCOW2_OPEN_NEED_LOCK)
		how |= HOLD_NEEDS_LOCK;
	return store_hold(hold, store, how, err);
}

/* Everything that is not qcow2 is raw. */
static int probe(struct qcow2_store *store, enum qcow2_format *format,
		 struct qcow2_error *err)
{
	uint8_t raw[HEADER_PEEK_BYTES];
	int rc = store_pread(store, raw, sizeof(raw), 0, 0, err);

	if (rc == 0)
		*format = header_peek(raw).is_qcow2 ? QCOW2_FORMAT_QCOW2
						    : QCOW2_FORMAT_RAW;
	return rc;
}

static int open_format(struct layer *l, const struct layer_opening *o,
		       struct qcow2_error *err)
{
	enum qcow2_format format = o->format;
	int rc = identities_add(o->ids, l->store, err);

	if (rc == 0)
		rc = layer_hold(&l->hold, l->store, o, err);
	if (rc == 0 && format == QCOW2_FORMAT_PROBE)
		rc = probe(l->store, &format, err);
	if (rc < 0)
		return rc;
	l->ops = find_kind(format);
	assert(l->ops);
	return l->ops->open(l, o, err);
}

static int count_reads(struct layer *l, struct qcow2_error *err)
{
	if (l->depth == 0)
		return 0;
	l->reads = calloc(1, sizeof(*l->reads));
	return l->reads ? 0
			: error_nomem(err, "the counters of a layer",
				      sizeof(*l->reads));
}

int layer_open(struct layer *l, const struct layer_opening *o,
	       struct qcow2_error *err)
{
	int rc;

	*l = (struct layer){ .store = o->file.store,
			     .dir = o->file.dir,
			     .depth = o->depth };
	rc = count_reads(l, err);
	if (rc == 0)
		rc = open_format(l, o, err);
	if (rc == 0)
		return 0;
	layer_close(l, NULL);
	return error_in_layer(err, rc, o->depth);
}

/* The operations that every kind has. */
static bool ops_are_complete(const struct layer_ops *ops)
{
	const struct layer_write_ops *w = ops->write;

	return ops->name && ops->open && ops->map && ops->read &&
	       ops->get_info && w && w->pwritev && w->zero && w->discard &&
	       w->flush && w->recover && w->resize;
}

void layer_validate(const struct layer *l)
{
	assert(l->ops == find_kind(l->ops->format));
	assert(ops_are_complete(l->ops));
	assert(l->store);
	assert(l->size <= INT64_MAX);
	assert(__builtin_popcount(l->cluster_size) == 1);
	assert(implies(l->data && !l->has_data_file, l->data == l->store));
	assert(implies(l->below || l->below_unknown, l->ops->backing));
	assert(implies(l->below, l->below->depth == l->depth + 1));
	assert(!l->reads == !l->depth);
	if (l->ops->validate)
		l->ops->validate(l);
}

int layer_close(struct layer *l, struct qcow2_error *err)
{
	int rc = l->ops && l->ops->close ? l->ops->close(l, err) : 0;

	store_release(&l->hold);
	store_unref(l->store);
	gate_dir_release(&l->dir);
	free(l->reads);
	l->reads = NULL;
	l->store = l->data = NULL;
	return rc;
}

bool layer_backing(const struct layer *l, struct qcow2_reference *ref)
{
	*ref = (struct qcow2_reference){
		.kind = QCOW2_REFERENCE_BACKING,
		.image = store_name(l->store),
		.depth = l->depth,
	};
	return l->ops->backing && l->ops->backing(l, ref);
}

int layer_refuse(const struct layer *l, const char *cannot,
		 struct qcow2_error *err)
{
	return error_set(err, -ENOTSUP, "a %s image %s", l->ops->name, cannot);
}
