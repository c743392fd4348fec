#include "crash/base.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/handle.h"
#include "chain/disk_impl.h"
#include "check/check.h"
#include "crash/cowstore.h"
#include "crash/edit.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

#define VALUE_PREFILL 0xa0000000u

static void must(int rc, const char *what, const struct qcow2_error *err)
{
	if (rc == 0)
		return;
	fprintf(stderr, "crash: %s: %s\n", what, err->message);
	abort();
}

/* ---- Opening ------------------------------------------------------------- */

struct external {
	struct qcow2_store *data;
	struct qcow2_store *backing;
};

static int open_external(void *opaque, const struct qcow2_reference *ref,
			 struct qcow2_store **out, struct qcow2_error *err)
{
	struct external *x = opaque;

	struct qcow2_store *file =
		ref->kind == QCOW2_REFERENCE_BACKING ? x->backing : x->data;

	(void)err;
	/* An image that has only now got a backing file finds an empty one. */
	*out = file ? store_ref(file) : cow_new();
	return 0;
}

static void claim_little(struct qcow2_image *img, uint32_t ahead)
{
	if (ahead)
		img->disk->layers[0].image->writer->alloc.ahead = ahead;
}

uint64_t base_ahead(const struct base *b)
{
	uint64_t usual = (4u << 20) / b->config->cluster;

	return b->config->ahead ? b->config->ahead : usual < 256 ? usual : 256;
}

/* All tables of these small disks.  The default is so much more that a great
 * part of a run would go into the empty index of the cache. */
#define ALL_TABLES_BYTES (128 * 1024)

int base_open(const struct base *b, struct qcow2_store *const files[BASE_FILES],
	      bool writable, const char *snapshot, struct qcow2_image **out,
	      struct qcow2_error *err)
{
	struct external external = { files[1], b->backing };
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	int rc;

	gate.open = open_external;
	gate.opaque = &external;
	opts.gate = &gate;
	opts.flags = writable ? QCOW2_OPEN_RDWR : 0;
	opts.snapshot = snapshot;
	opts.discard = b->config->discard;
	opts.l2_cache_bytes = b->config->l2_cache_bytes
				      ? b->config->l2_cache_bytes
				      : ALL_TABLES_BYTES;
	opts.refcount_cache_bytes = 8 * (uint64_t)b->config->cluster;
	rc = qcow2_open_store(files[0], &opts, out, err);
	if (rc == 0 && writable)
		claim_little(*out, b->config->ahead);
	return rc;
}

static uint8_t *pattern(const struct op *op, uint32_t value)
{
	uint8_t *buf = malloc((size_t)op->len * MODEL_SECTOR);

	assert(buf);
	for (uint32_t i = 0; i < op->len; i++)
		value_write(buf + (size_t)i * MODEL_SECTOR, op->off + i, value);
	return buf;
}

static int write_op(struct qcow2_image *img, const struct op *op,
		    uint32_t value, struct qcow2_error *err)
{
	uint8_t *buf = pattern(op, value);
	uint64_t off = (uint64_t)op->off * MODEL_SECTOR;
	size_t len = (size_t)op->len * MODEL_SECTOR;
	unsigned flags = op->fua ? QCOW2_FUA : 0;
	int rc;

	if (op->kind == OP_COMPRESS)
		rc = qcow2_write_compressed(img, buf, len, off, flags, err);
	else
		rc = qcow2_pwrite(img, buf, len, off, flags, err);
	free(buf);
	return rc;
}

/* Asks by name, because the library looks for an id before a name. */
static const char *const names[MODEL_SNAPSHOTS] = { "s0", "s1", "s2" };

const char *base_snapshot_name(unsigned i)
{
	return names[i];
}

static int resize(struct qcow2_image *img, const struct op *op,
		  struct qcow2_error *err)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;

	opts.flags = QCOW2_RESIZE_SHRINK;
	if (op->kind == OP_GROW)
		opts.preallocation = QCOW2_PREALLOC_METADATA;
	return qcow2_resize(img, (uint64_t)op->off * MODEL_SECTOR, &opts, err);
}

static int compact(struct qcow2_image *img, const struct op *op,
		   struct qcow2_error *err)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;

	if (op->off & 1)
		opts.flags |= QCOW2_COMPACT_ZEROS;
	if (op->off & 2)
		opts.flags |= QCOW2_COMPACT_COMPRESS;
	return qcow2_compact(img, &opts, &result, err);
}

static int amend(struct qcow2_image *img, const struct op *op,
		 struct qcow2_error *err)
{
	struct qcow2_amend_opts opts = QCOW2_AMEND_OPTS_INIT;

	if (op->kind == OP_VERSION) {
		opts.set = QCOW2_AMEND_VERSION;
		opts.version = op->off;
	} else {
		opts.set = QCOW2_AMEND_REFCOUNT_BITS;
		opts.refcount_bits = op->off;
	}
	return qcow2_amend(img, &opts, err);
}

static int snapshot_op(struct qcow2_image *img, const struct op *op,
		       struct qcow2_error *err)
{
	const char *name = names[op->off];

	if (op->kind == OP_APPLY)
		return qcow2_snapshot_apply(img, name, err);
	if (op->kind == OP_DELETE)
		return qcow2_snapshot_delete(img, name, err);
	return qcow2_snapshot_create(img, name, NULL, err);
}

static int change(struct qcow2_image *img, const struct op *op,
		  struct qcow2_error *err)
{
	switch (op->kind) {
	case OP_RESIZE:
	case OP_GROW:
		return resize(img, op, err);
	case OP_COMPACT:
		return compact(img, op, err);
	case OP_VERSION:
	case OP_WIDTH:
		return amend(img, op, err);
	default:
		return snapshot_op(img, op, err);
	}
}

int base_perform(const struct base *b,
		 struct qcow2_store *const files[BASE_FILES],
		 struct qcow2_image **img, const struct op *op, uint32_t value,
		 struct qcow2_error *err)
{
	uint64_t off = (uint64_t)op->off * MODEL_SECTOR;
	uint64_t len = (uint64_t)op->len * MODEL_SECTOR;
	int rc;

	switch (op->kind) {
	case OP_WRITE:
	case OP_COMPRESS:
		return write_op(*img, op, value, err);
	case OP_ZERO:
		return qcow2_zero(*img, len, off, 0, err);
	case OP_UNMAP:
		return qcow2_zero(*img, len, off, QCOW2_ZERO_MAY_UNMAP, err);
	case OP_DISCARD:
		return qcow2_discard(*img, len, off, 0, err);
	case OP_FLUSH:
		return qcow2_flush(*img, err);
	case OP_REOPEN:
		rc = qcow2_close(*img, err);
		*img = NULL;
		return rc < 0 ? rc : base_open(b, files, true, NULL, img, err);
	case OP_NONE:
	case OP_FULL:
		return 0;
	default:
		return change(*img, op, err);
	}
}

/* ---- Making -------------------------------------------------------------- */

static struct model_rules rules_of(const struct config *c)
{
	return (struct model_rules){
		.cluster_sectors = c->cluster / MODEL_SECTOR,
		.backing_sectors = c->backing_sectors,
		.version = c->version ? c->version : 3,
		.refcount_bits = c->refcount_bits ? c->refcount_bits : 16,
		.compression = config_has_compression(c),
		.version_2 = c->data == DATA_INSIDE &&
			     !(c->create_flags & QCOW2_CREATE_EXTENDED_L2),
		.snapshots = c->data == DATA_INSIDE,
		.first_snapshot = c->snapshot,
	};
}

static void fill_backing(struct base *b)
{
	const struct config *c = b->config;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	struct op all = { .len = c->backing_sectors };

	opts.flags = QCOW2_OPEN_RDWR;
	if (c->backing == BACKING_RAW)
		opts.format = QCOW2_FORMAT_RAW;
	must(qcow2_open_store(b->backing, &opts, &img, &err), "backing", &err);
	must(write_op(img, &all, VALUE_BACKING, &err), "backing", &err);
	must(qcow2_close(img, &err), "backing", &err);
	for (uint32_t i = 0; i < c->backing_sectors && i < c->sectors; i++)
		model_set(&b->model, i, VALUE_BACKING);
}

static void make_backing(struct base *b)
{
	const struct config *c = b->config;
	uint64_t bytes = (uint64_t)c->backing_sectors * MODEL_SECTOR;
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_error err = { 0 };

	if (c->backing == BACKING_NONE)
		return;
	b->backing = cow_new();
	opts.virtual_size = bytes;
	opts.cluster_size = 4096;
	if (c->backing == BACKING_RAW)
		must(store_truncate(b->backing, bytes, &err), "backing", &err);
	else
		must(qcow2_create_store(b->backing, NULL, &opts, &err),
		     "backing", &err);
	fill_backing(b);
}

static void make_image(struct base *b)
{
	const struct config *c = b->config;
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_error err = { 0 };

	b->files[0] = cow_new();
	opts.virtual_size = (uint64_t)c->sectors * MODEL_SECTOR;
	opts.cluster_size = c->cluster;
	opts.version = c->version;
	opts.refcount_bits = c->refcount_bits;
	opts.flags = c->create_flags;
	opts.preallocation = c->prealloc;
	if (c->backing) {
		opts.backing_file = c->backing_name ? c->backing_name
						    : "backing";
		opts.backing_format = c->backing == BACKING_RAW ? "raw"
								: "qcow2";
	}
	if (c->data) {
		b->files[1] = cow_new();
		opts.data_file = "data";
		if (c->data == DATA_FILE_RAW)
			opts.flags |= QCOW2_CREATE_DATA_FILE_RAW;
	}
	must(qcow2_create_store(b->files[0], b->files[1], &opts, &err), c->name,
	     &err);
}

static void fill_with(struct base *b, const char *text)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	struct workload w;
	bool ok = workload_parse(&w, text);

	assert(ok);
	(void)ok;
	must(base_open(b, b->files, true, NULL, &img, &err), "prefill", &err);
	for (unsigned i = 0; i < w.n; i++) {
		must(base_perform(b, b->files, &img, &w.ops[i],
				  VALUE_PREFILL + i, &err),
		     "prefill", &err);
		model_submit(&b->model, &w.ops[i], VALUE_PREFILL + i);
	}
	must(qcow2_close(img, &err), "prefill", &err);
	model_settle(&b->model);
}

static void keep_snapshot(struct base *b)
{
	edit_add_snapshot(b->files[0], b->config->old_snapshot);
	b->snapshot = malloc((size_t)b->model.n_sectors * MODEL_SECTOR);
	assert(b->snapshot);
	for (uint32_t i = 0; i < b->model.n_sectors; i++)
		value_write(b->snapshot + (size_t)i * MODEL_SECTOR, i,
			    b->model.sectors[i].values[0]);
}

static void zero_shared(struct base *b)
{
	uint32_t unit = b->model.rules.cluster_sectors;
	uint32_t first = edit_zero_shared(b->files[0]) * unit;

	for (uint32_t i = first; i < first + unit; i++)
		model_set(&b->model, i, VALUE_ZERO);
}

static void count_leaks(struct base *b)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct qcow2_error err = { 0 };

	must(check_store(b->files[0], &opts, &result, &err), b->config->name,
	     &err);
	if (result.corruptions || result.check_errors) {
		fprintf(stderr, "crash: %s is not sound to begin with\n",
			b->config->name);
		abort();
	}
	b->leaks = result.leaks;
}

struct base base_new(const struct config *config)
{
	struct base b = { .config = config };

	b.model = model_new(config->sectors, rules_of(config));
	make_backing(&b);
	make_image(&b);
	if (config->prefill)
		fill_with(&b, config->prefill);
	if (config->snapshot)
		keep_snapshot(&b);
	if (config->after)
		fill_with(&b, config->after);
	if (config->zeros_over_shared)
		zero_shared(&b);
	if (config->autoclear)
		edit_set_autoclear(b.files[0]);
	if (config->fill && config->fill != FILL_LOW)
		edit_fill(b.files[0], config->fill);
	count_leaks(&b);
	if (config->fill == FILL_LOW)
		edit_lower(b.files[0]);
	return b;
}

struct base base_derive(const struct base *from,
			struct qcow2_store *files[BASE_FILES],
			const struct model *model, uint64_t leaks)
{
	struct base b = *from;

	for (unsigned i = 0; i < BASE_FILES; i++)
		b.files[i] = files[i];
	b.backing = from->backing ? store_ref(from->backing) : NULL;
	b.model = model_copy(model);
	b.leaks = leaks;
	b.crashed = true;
	if (from->snapshot) {
		size_t bytes = (size_t)b.config->sectors * MODEL_SECTOR;

		b.snapshot = malloc(bytes);
		assert(b.snapshot);
		memcpy(b.snapshot, from->snapshot, bytes);
	}
	return b;
}

void base_free(struct base *b)
{
	for (unsigned i = 0; i < BASE_FILES; i++)
		store_unref(b->files[i]);
	store_unref(b->backing);
	model_free(&b->model);
	free(b->snapshot);
}
