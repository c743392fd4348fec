#include "crash/special.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "crash/cowstore.h"
#include "crash/edit.h"
#include "crash/enumerate.h"
#include "crash/generate.h"
#include "format/header.h"
#include "store/store.h"
#include "stores/hook.h"
#include "stores/record.h"

#define VALUE_INTRUDER 0xd0000000u

/* ---- Readers under way --------------------------------------------------- */

/* The intruder acts once, in the middle of a read.  One thread does it all,
 * which works because nobody holds a lock while data is read. */
struct intrusion {
	const struct base *base;
	struct qcow2_store *files[BASE_FILES];
	struct qcow2_image *img;
	struct workload w;
	struct model model;
	unsigned wait; /* reads that pass before it */
	bool armed;
	struct failure *failure;
	bool ok;
};

static void intrude(struct intrusion *x)
{
	struct qcow2_error err = { 0 };

	x->armed = false;
	for (unsigned i = 0; i < x->w.n && x->ok; i++) {
		const struct op *op = &x->w.ops[i];

		x->ok = base_perform(x->base, x->files, &x->img, op,
				     VALUE_INTRUDER + i, &err) == 0;
		model_submit(&x->model, op, VALUE_INTRUDER + i);
	}
	if (!x->ok)
		snprintf(x->failure->why, WHY_BYTES, "during a read: %s",
			 err.message);
}

static struct hook_answer on_call(void *opaque, const struct store_call *call)
{
	struct intrusion *x = opaque;

	if (x->armed && call->op == STORE_OP_READ && x->wait-- == 0)
		intrude(x);
	return (struct hook_answer){ .what = HOOK_PASS };
}

static void open_hooked(struct intrusion *x)
{
	struct hook hook = { .enter = on_call, .opaque = x };
	struct qcow2_error err = { 0 };
	int rc = 0;

	for (unsigned f = 0; f < BASE_FILES && rc == 0; f++) {
		struct qcow2_store *inner;

		if (!x->base->files[f])
			continue;
		inner = cow_clone(x->base->files[f]);
		rc = hook_store_new(inner, &hook, &x->files[f]);
		store_unref(inner);
	}
	if (rc == 0)
		rc = base_open(x->base, x->files, true, NULL, &x->img, &err);
	assert(rc == 0);
	(void)rc;
}

/* The clusters of the read are freed, a flush makes that durable, and other
 * clusters are written. */
static void plan_intrusion(struct intrusion *x, struct test_rng *rng,
			   const struct op *read)
{
	static const enum op_kind kinds[] = { OP_DISCARD, OP_UNMAP, OP_WRITE,
					      OP_COMPRESS };
	const struct config *c = x->base->config;
	struct op free_it = *read;

	free_it.kind =
		kinds[test_rng_below(rng, config_has_compression(c) ? 4 : 3)];
	if (free_it.kind == OP_COMPRESS)
		free_it.len = (uint32_t)min_u64(
			align_up(free_it.len, c->cluster / MODEL_SECTOR),
			c->sectors - free_it.off);
	workload_add(&x->w, free_it);
	for (uint64_t n = 1 + test_rng_below(rng, 3); n; n--)
		workload_add(&x->w, (struct op){ .kind = OP_FLUSH });
	for (uint64_t n = 2 + test_rng_below(rng, 6); n; n--) {
		struct op op = generate_op(rng, c);

		if (op.kind != OP_REOPEN)
			workload_add(&x->w, op);
	}
}

static struct op plan_read(struct test_rng *rng, const struct config *c)
{
	uint32_t unit = c->cluster / MODEL_SECTOR;
	uint32_t n = (c->sectors + unit - 1) / unit;
	struct op op = { .off = (uint32_t)test_rng_below(rng, n) * unit };

	op.len = (uint32_t)min_u64(unit * (1 + test_rng_below(rng, 3)),
				   c->sectors - op.off);
	return op;
}

static bool read_is_right(struct intrusion *x, const struct op *read,
			  const uint8_t *disk)
{
	for (uint32_t i = 0; x->ok && i < read->len; i++) {
		uint32_t lba = read->off + i;
		uint32_t value =
			value_read(disk + (size_t)i * MODEL_SECTOR, lba);
		const struct model_sector *s = &x->model.sectors[lba];
		bool found = false;

		for (uint32_t k = 0; k < s->n; k++)
			found |= s->values[k] == value;
		if (!found)
			snprintf(x->failure->why, WHY_BYTES,
				 "a read saw 0x%x in sector %u", value, lba);
		x->ok = found;
	}
	return x->ok;
}

static void read_around(struct intrusion *x, const struct op *read)
{
	size_t bytes = (size_t)x->model.n_sectors * MODEL_SECTOR;
	CLEANUP_FREE uint8_t *disk = malloc(bytes);
	struct qcow2_error err = { 0 };
	int rc;

	assert(disk);
	/* The tables come into the cache before: nobody can intrude on their
	 * loading, because everybody waits for it. */
	rc = qcow2_pread(x->img, disk, bytes, 0, 0, &err);
	x->armed = true;
	if (rc == 0)
		rc = qcow2_pread(x->img, disk, (size_t)read->len * MODEL_SECTOR,
				 (uint64_t)read->off * MODEL_SECTOR, 0, &err);
	x->armed = false;
	if (rc < 0 && x->ok) {
		snprintf(x->failure->why, WHY_BYTES, "a read: %s", err.message);
		x->ok = false;
	}
	if (x->ok)
		read_is_right(x, read, disk);
}

static void finish(struct intrusion *x)
{
	struct qcow2_error err = { 0 };
	int rc = qcow2_close(x->img, &err);

	if (rc < 0 && x->ok)
		snprintf(x->failure->why, WHY_BYTES, "closing: %s",
			 err.message);
	x->ok = x->ok && rc == 0 &&
		verify_state(x->base, x->files, &x->model, true, x->base->leaks,
			     NULL, x->failure->why);
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(x->files[f]);
	model_free(&x->model);
}

bool special_reader(const struct trial_env *env, const struct base *b,
		    uint64_t number, struct failure *failure)
{
	struct test_rng rng = test_rng_init(env->seed + number);
	struct intrusion x = { .base = b, .failure = failure, .ok = true };
	struct op read = plan_read(&rng, b->config);
	char text[WORKLOAD_TEXT_BYTES];

	memset(failure, 0, sizeof(*failure));
	x.model = model_copy(&b->model);
	x.wait = (unsigned)test_rng_below(&rng, 2);
	plan_intrusion(&x, &rng, &read);
	open_hooked(&x);
	read_around(&x, &read);
	finish(&x);
	workload_print(&x.w, text, sizeof(text));
	snprintf(failure->events, FAILURE_BYTES,
		 "    read %u number %llu, while: %s\n", read.off,
		 (unsigned long long)number, text);
	return x.ok;
}

/* ---- A damaged entry ----------------------------------------------------- */

struct corrupt {
	struct pending pending;
	struct failure *failure;
	struct stats *stats;
};

static bool is_marked(void *opaque, const struct choice *choice)
{
	struct corrupt *x = opaque;
	struct qcow2_store *files[BASE_FILES];
	uint8_t raw[8];
	bool marked;

	pending_build(&x->pending, choice, files);
	store_pread(files[0], raw, sizeof(raw), HEADER_OFF_INCOMPAT, 0, NULL);
	marked = get_be64(raw) & INCOMPAT_CORRUPT;
	x->stats->states++;
	if (!marked) {
		snprintf(x->failure->why, WHY_BYTES,
			 "damage was reported and is not marked");
		pending_describe(&x->pending, choice, x->failure->events,
				 FAILURE_BYTES);
	}
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return marked;
}

/* Writes and expects the error of the damage, twice. */
static bool fails_and_stays_so(struct qcow2_store *file, const struct base *b,
			       char *why)
{
	struct qcow2_store *files[BASE_FILES] = { file, NULL };
	struct op op = { .kind = OP_WRITE, .len = 1 };
	struct op other = { .kind = OP_WRITE,
			    .off = b->config->sectors - 1,
			    .len = 1 };
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = base_open(b, files, true, NULL, &img, &err);

	if (rc == 0) {
		rc = base_perform(b, files, &img, &op, 1, &err);
		if (rc < 0 && base_perform(b, files, &img, &other, 2, &err) < 0)
			rc = -1;
		else
			rc = 0;
		qcow2_close(img, NULL);
	}
	if (rc == 0)
		snprintf(why, WHY_BYTES, "writes go on after damage");
	return rc < 0;
}

bool special_corrupt(const struct trial_env *env, const struct base *b,
		     struct failure *failure)
{
	struct corrupt x = { .failure = failure, .stats = env->stats };
	struct record_log *log = record_log_new();
	struct test_rng rng = test_rng_init(env->seed);
	struct visitor v = { is_marked, &x, &env->effort, &rng };
	struct qcow2_store *files[BASE_FILES] = { cow_clone(b->files[0]) };
	struct qcow2_store *recorded;
	bool ok;

	memset(failure, 0, sizeof(*failure));
	edit_damage_entry(files[0]);
	pending_init(&x.pending, files);
	record_store_new(log, files[0], NULL, &recorded);
	ok = fails_and_stays_so(recorded, b, failure->why);
	for (size_t i = 0; i < record_n_events(log); i++)
		pending_add(&x.pending, record_event(log, i));
	if (ok)
		ok = enumerate_all(&x.pending, &v);
	pending_release(&x.pending);
	store_unref(recorded);
	store_unref(files[0]);
	record_log_free(log);
	return ok;
}
