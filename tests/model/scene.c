#include "model/scene.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "store/mem.h"
#include "store/store.h"

enum { N_ORDERS = 6 };

/* ---- Requests ------------------------------------------------------------ */

static int grow(struct qcow2_image *img, const struct op *op)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;

	opts.preallocation = op->prealloc;
	return qcow2_resize(img, op->size, &opts, NULL);
}

static int perform(struct qcow2_image *img, struct request *r)
{
	const struct op *op = &r->op;
	uint8_t buf[DISK];

	op_fill(op, buf, op->len, op->off);
	switch (op->kind) {
	case OP_WRITE:
		return qcow2_pwrite(img, buf, op->len, op->off, op->flags,
				    NULL);
	case OP_COMPRESS:
		return qcow2_write_compressed(img, buf, op->len, op->off, 0,
					      NULL);
	case OP_ZERO:
		return qcow2_zero(img, op->len, op->off, op->flags, NULL);
	case OP_DISCARD:
		return qcow2_discard(img, op->len, op->off, 0, NULL);
	case OP_READ:
		return qcow2_pread(img, r->seen, op->len, op->off, 0, NULL);
	case OP_RESIZE:
		return grow(img, op);
	default:
		return qcow2_flush(img, NULL);
	}
}

static void request_main(void *arg, unsigned i)
{
	struct scene *s = arg;

	struct request *r = &s->requests[i];

	r->rc = perform(s->img, r);
	r->came_early = r->rc == -EINVAL && op_has_range(&r->op) &&
			r->op.off + r->op.len > s->config.size;
	/* It does not end with the larger disk. */
	if (r->rc == -EINVAL && r->op.kind == OP_COMPRESS &&
	    r->op.off + r->op.len == s->config.size &&
	    qcow2_size(s->img) > s->config.size)
		r->came_early = true;
}

/* ---- The scene ----------------------------------------------------------- */

/* Clusters 0 and 1 hold data, 2 and 3 nothing, 4 and 5 are compressed, 6 is
 * zeros, 7 data that was written before and freed, 8 data, 9 zeros that keep
 * their place. */
static const struct op prefill[] = {
	{ .kind = OP_WRITE, .off = 0, .len = 2 * CLUSTER },
	{ .kind = OP_COMPRESS, .off = 4 * CLUSTER, .len = 2 * CLUSTER },
	{ .kind = OP_WRITE, .off = 6 * CLUSTER, .len = 4 * CLUSTER },
	{ .kind = OP_ZERO,
	  .off = 6 * CLUSTER,
	  .len = 2 * CLUSTER,
	  .flags = QCOW2_ZERO_MAY_UNMAP },
	{ .kind = OP_WRITE, .off = 7 * CLUSTER, .len = CLUSTER },
	{ .kind = OP_ZERO, .off = 9 * CLUSTER, .len = CLUSTER },
};

struct config scene_config(uint32_t discard)
{
	return (struct config){
		.size = DISK,
		.cluster = CLUSTER,
		.version = 3,
		.refcount_bits = 16,
		.discard = discard,
		.n_windows = 1,
		.windows = { { 0, DISK } },
	};
}

void scene_init(struct scene *s, struct config config, const struct op *last)
{
	struct qcow2_error err = { 0 };
	int rc;

	memset(s, 0, sizeof(*s));
	s->config = config;
	s->before = oracle_new(&s->config);
	s->steps = steps_new();
	rc = files_make(&s->files, &s->config, NULL, &err);
	if (rc == 0)
		rc = files_open(&s->files, true, NULL, &s->img, &err);
	for (size_t i = 0; rc == 0 && i < sizeof(prefill) / sizeof(*prefill);
	     i++) {
		struct request r = { .op = op_cut(prefill[i], config.size) };

		r.op.fill = FILL_STAMP;
		r.op.pattern = (uint8_t)(0x40 + i);
		rc = perform(s->img, &r);
		oracle_apply(&s->before, &r.op);
	}
	if (rc == 0 && last) {
		struct request r = { .op = op_cut(*last, config.size) };

		rc = perform(s->img, &r);
		oracle_apply(&s->before, &r.op);
	}
	if (rc == 0)
		rc = qcow2_close(s->img, &err);
	assert(rc == 0);
	s->base = s->files.stores[FILE_TOP];
	s->files.stores[FILE_TOP] = NULL;
}

void scene_release(struct scene *s)
{
	store_unref(s->base);
	files_release(&s->files);
	oracle_free(&s->before);
	steps_free(s->steps);
}

/* Opens a copy of the base, with tables in memory. */
static void scene_open(struct scene *s)
{
	CLEANUP_STORE struct qcow2_store *copy = NULL;
	uint8_t buf[DISK];
	int rc = store_mem_clone(s->base, &copy, NULL);

	if (rc == 0)
		rc = steps_store_new(s->steps, copy,
				     &s->files.stores[FILE_TOP]);
	if (rc == 0)
		rc = files_open(&s->files, true, NULL, &s->img, NULL);
	if (rc == 0)
		rc = qcow2_pread(s->img, buf, s->config.size, 0, 0, NULL);
	assert(rc == 0);
	(void)rc;
}

/* ---- Judging ------------------------------------------------------------- */

static bool wrong(struct scene *s, const char *what, uint64_t off)
{
	snprintf(s->why, sizeof(s->why), "%s (byte %" PRIu64 ")", what, off);
	return false;
}

static const unsigned char orders[N_ORDERS][STEPS_THREADS] = {
	{ 0, 1, 2 }, { 1, 0, 2 }, { 0, 2, 1 },
	{ 2, 0, 1 }, { 1, 2, 0 }, { 2, 1, 0 },
};

/* The one of number @i in this order, if it is a request that was made. */
static void apply_nth(const struct scene *s, unsigned order, unsigned i,
		      struct oracle *o)
{
	const struct request *r = &s->requests[orders[order][i]];

	if (orders[order][i] >= s->n || r->came_early)
		return;
	if (r->op.kind == OP_RESIZE)
		oracle_resize(o, r->op.size);
	else
		oracle_apply(o, &r->op);
}

static struct oracle in_order(const struct scene *s, unsigned order)
{
	struct oracle o = oracle_copy(&s->before);

	for (unsigned i = 0; i < STEPS_THREADS; i++)
		apply_nth(s, order, i, &o);
	return o;
}

/* A compressed write is a request for each of its clusters. */
static uint64_t grain(const struct scene *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->requests[i].op.kind == OP_COMPRESS)
			return CLUSTER;
	return DISK;
}

static bool is_serial(struct scene *s, const uint8_t *disk, uint64_t len,
		      uint64_t off)
{
	bool found = false;

	for (unsigned i = 0; i < N_ORDERS && !found; i++) {
		struct oracle o = in_order(s, i);

		found = memcmp(disk + off, o.bytes[0] + off, len) == 0;
		oracle_free(&o);
	}
	return found;
}

static bool disk_is_serial(struct scene *s, const uint8_t *disk)
{
	uint64_t step = grain(s);

	for (uint64_t off = 0; off < DISK; off += step)
		if (!is_serial(s, disk, step, off))
			return wrong(s, "no serial order explains the disk",
				     off);
	return true;
}

/* Every state in which a sector can have been: after some of the requests, in
 * some order. */
static bool sector_was_there(struct scene *s, const uint8_t *seen, uint64_t off)
{
	bool found = memcmp(seen, s->before.bytes[0] + off, SECTOR) == 0;

	for (unsigned k = 0; k < N_ORDERS && !found; k++) {
		struct oracle o = oracle_copy(&s->before);

		for (unsigned i = 0; i < STEPS_THREADS && !found; i++) {
			apply_nth(s, k, i, &o);
			found = memcmp(seen, o.bytes[0] + off, SECTOR) == 0;
		}
		oracle_free(&o);
	}
	return found;
}

static bool requests_are_right(struct scene *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct request *r = &s->requests[i];

		if (r->came_early)
			continue;
		if (r->rc < 0)
			return wrong(s, "a request failed", r->op.off);
		if (r->op.kind != OP_READ)
			continue;
		for (uint64_t at = 0; at < r->op.len; at += SECTOR)
			if (!sector_was_there(s, r->seen + at, r->op.off + at))
				return wrong(s,
					     "a read saw what was never "
					     "there",
					     r->op.off + at);
	}
	return true;
}

static bool check_is_clean(struct scene *s)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	int rc = qcow2_check_store(s->files.stores[FILE_TOP], NULL, &result,
				   NULL);

	if (rc < 0 || result.corruptions || result.leaks)
		return wrong(s, "check finds something", 0);
	return true;
}

static bool reads_again(struct scene *s, const uint8_t *disk, uint64_t size)
{
	uint8_t again[DISK];
	int rc = files_open(&s->files, false, NULL, &s->img, NULL);

	if (rc == 0)
		rc = qcow2_pread(s->img, again, size, 0, 0, NULL);
	if (rc == 0)
		rc = qcow2_close(s->img, NULL);
	if (rc < 0 || memcmp(disk, again, size) != 0)
		return wrong(s, "it reads otherwise when opened again", 0);
	return true;
}

bool scene_play(struct scene *s, struct choices *c, struct test_rng *rng)
{
	uint8_t disk[DISK];
	uint64_t size;
	bool ok;
	int rc;

	scene_open(s);
	if (!steps_run(s->steps, s->n, request_main, s, c, rng)) {
		wrong(s, "the requests wait for one another for ever", 0);
		printf("FAILURE: %s\n", s->why);
		exit(1);
	}
	ok = requests_are_right(s);
	size = qcow2_size(s->img);
	memset(disk, 0, DISK);
	rc = qcow2_pread(s->img, disk, size, 0, 0, NULL);
	ok = ok && (rc == 0 || wrong(s, "it cannot be read", 0));
	rc = qcow2_close(s->img, NULL);
	ok = ok && (rc == 0 || wrong(s, "it cannot be closed", 0));
	ok = ok && disk_is_serial(s, disk) && check_is_clean(s) &&
	     reads_again(s, disk, size);
	store_unref(s->files.stores[FILE_TOP]);
	s->files.stores[FILE_TOP] = NULL;
	return ok;
}
