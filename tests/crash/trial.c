#include "crash/trial.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "crash/cowstore.h"
#include "crash/enumerate.h"
#include "crash/generate.h"
#include "store/store.h"
#include "stores/fault.h"
#include "stores/record.h"

#define VALUE_FIRST 0x1000u

/* Opening, the operations, closing: the event at which each of them ends. */
enum { STEPS_MAX = WORKLOAD_OPS_MAX + 2 };

struct trial {
	const struct trial_env *env;
	const struct base *base;
	const struct workload *w;
	struct workload fitting; /* its operations as they made sense */
	struct failure *failure;
	unsigned depth; /* crashes before this one */
	struct test_rng rng;
	struct record_log *log;
	struct fault_injector fault; /* above the recorder */
	size_t step_end[STEPS_MAX];
	struct model model;
	struct pending pending;
	struct seen *seen;       /* of this trial, between two flushes */
	uint64_t past;           /* hash of all that determines the states */
	uint64_t interval;       /* hash of it at the last completed flush */
	uint64_t touched;        /* clusters, since the last flush */
	uint64_t touched_before; /* and between that and the one before */
};

static unsigned n_steps(const struct trial *t)
{
	return t->w->n + 2;
}

/* ---- Recording ----------------------------------------------------------- */

static bool run_failed(struct trial *t, const char *what,
		       const struct qcow2_error *err)
{
	snprintf(t->failure->why, WHY_BYTES, "%s: %s", what, err->message);
	return false;
}

/* The recorder has the writes before the failure, and one sector of each failed
 * one. */
static int flush_without_room(struct trial *t, struct qcow2_image *img,
			      uint32_t nth, struct qcow2_error *err)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE),
				   .nth = nth,
				   .persistent = true,
				   .kind = FAULT_SHORT,
				   .code = -ENOSPC,
				   .part = MODEL_SECTOR };
	int rc;

	if (nth == 0) {
		plan = (struct fault_plan){ .ops = plan.ops,
					    .nth = 1,
					    .code = plan.code };
		fault_arm(&t->fault, &plan);
		return 0;
	}
	fault_arm(&t->fault, &plan);
	rc = qcow2_flush(img, err);
	fault_arm(&t->fault, NULL);
	return rc == -ENOSPC ? 0 : rc;
}

static int perform(struct trial *t, struct qcow2_store *const files[BASE_FILES],
		   struct qcow2_image **img, const struct op *op,
		   uint32_t value, struct qcow2_error *err)
{
	if (op->kind == OP_FULL)
		return flush_without_room(t, *img, op->off, err);
	return base_perform(t->base, files, img, op, value, err);
}

static int run_ops(struct trial *t, struct qcow2_store *const files[BASE_FILES],
		   struct qcow2_image **img, struct qcow2_error *err)
{
	struct model m = model_copy(&t->base->model);
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < t->w->n; i++) {
		struct op op = model_fit(&m, t->w->ops[i]);

		rc = perform(t, files, img, &op, VALUE_FIRST + i, err);
		model_submit(&m, &op, VALUE_FIRST + i);
		model_complete(&m, &op);
		model_settle(&m);
		workload_add(&t->fitting, op);
		t->step_end[i + 1] = record_n_events(t->log);
	}
	model_free(&m);
	return rc;
}

static bool run_steps(struct trial *t,
		      struct qcow2_store *const files[BASE_FILES])
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img = NULL;

	if (base_open(t->base, files, true, NULL, &img, &err) < 0)
		return run_failed(t, "opening", &err);
	t->step_end[0] = record_n_events(t->log);
	if (run_ops(t, files, &img, &err) < 0) {
		qcow2_close(img, NULL);
		return run_failed(t, "an operation", &err);
	}
	if (qcow2_close(img, &err) < 0)
		return run_failed(t, "closing", &err);
	t->step_end[t->w->n + 1] = record_n_events(t->log);
	return true;
}

static bool record(struct trial *t)
{
	struct qcow2_store *files[BASE_FILES] = { NULL };
	bool ok;

	for (unsigned f = 0; f < BASE_FILES; f++) {
		struct qcow2_store *inner, *recorded;

		if (!t->base->files[f])
			continue;
		inner = cow_clone(t->base->files[f]);
		record_store_new(t->log, inner, NULL, &recorded);
		fault_store_new(&t->fault, recorded, &files[f]);
		store_unref(recorded);
		store_unref(inner);
	}
	ok = run_steps(t, files);
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return ok;
}

/* ---- Judging ------------------------------------------------------------- */

/* I9: the clusters that operations touched and that no flush, and no commit
 * after it, has settled; runs claimed ahead; a few tables. */
static uint64_t leak_limit(const struct trial *t)
{
	return t->base->leaks + 2 * base_ahead(t->base) +
	       2 * (t->touched + t->touched_before) + 8;
}

static bool trial_at(const struct trial_env *env, const struct base *b,
		     const struct workload *w, unsigned depth,
		     struct failure *failure);

/* The operations of guests, and one of the changes that were being made. */
static struct workload more_work(const struct trial *t, uint64_t hash)
{
	struct test_rng rng = test_rng_init(hash ^ t->env->seed);
	struct workload w = generate_random(
		&rng, t->base->config, 3 + (unsigned)test_rng_below(&rng, 4));
	uint64_t n = 0;

	for (unsigned i = 0; i < t->w->n; i++)
		if (op_is_change(&t->w->ops[i]) &&
		    test_rng_below(&rng, ++n) == 0)
			w.ops[1] = t->w->ops[i];
	return w;
}

static bool crash_again(struct trial *t, const struct base *now,
			const struct workload *w)
{
	struct trial_env env = *t->env;
	struct failure inner;
	char text[WORKLOAD_TEXT_BYTES];

	env.effort.again_one_in = 0;
	env.effort.all_max = 4;
	env.effort.n_random = 1;
	t->env->stats->again++;
	if (trial_at(&env, now, w, t->depth + 1, &inner))
		return true;
	workload_print(w, text, sizeof(text));
	snprintf(t->failure->why, WHY_BYTES,
		 "crashed again in `%.100s`: %.250s", text, inner.why);
	return false;
}

/* Leaks behind the end of the file show only once it has grown again, so the
 * next workload starts from their limit, not from their number. */
static bool go_on(struct trial *t, struct qcow2_store *files[BASE_FILES],
		  const struct model *disk, uint64_t hash)
{
	struct base now = base_derive(t->base, files, disk, leak_limit(t));
	struct workload w = more_work(t, hash);
	unsigned again = t->env->effort.again_one_in;
	bool ok;

	/* Opening is then a repair, which may crash too. */
	if (again && verify_is_dirty(files[0]))
		again = again / 4 + 1;
	if (again && hash % again == 0)
		ok = crash_again(t, &now, &w);
	else
		ok = verify_goes_on(&now, &w, t->failure->why);
	for (unsigned f = 0; f < BASE_FILES; f++)
		files[f] = NULL;
	base_free(&now);
	return ok;
}

static bool judge(struct trial *t, struct qcow2_store *files[BASE_FILES],
		  uint64_t hash)
{
	struct model now;
	bool ok = verify_state(t->base, files, &t->model, false, leak_limit(t),
			       &now, t->failure->why);

	if (!ok)
		return false;
	if (t->depth == 0)
		ok = go_on(t, files, &now, hash);
	model_free(&now);
	return ok;
}

static uint64_t hash_files(struct qcow2_store *const files[BASE_FILES])
{
	uint64_t h = 0;

	for (unsigned f = 0; f < BASE_FILES; f++)
		if (files[f])
			h = hash_mix(h, cow_hash(files[f]));
	return h;
}

static bool is_new(struct trial *t, uint64_t hash)
{
	return seen_add(t->seen, hash_mix(hash, t->interval)) &&
	       (!t->env->seen ||
		seen_add(t->env->seen, hash_mix(hash, t->past)));
}

static bool judge_choice(struct trial *t, const struct choice *c, bool count)
{
	struct qcow2_store *files[BASE_FILES];
	bool ok = true;
	uint64_t hash;

	pending_build(&t->pending, c, files);
	hash = hash_files(files);
	if (count)
		t->env->stats->states++;
	if (!count || is_new(t, hash)) {
		t->env->stats->distinct += count;
		ok = judge(t, files, hash);
	}
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return ok;
}

/* Gives back one lost event after the other as long as it still fails. */
static void describe_failure(struct trial *t, const struct choice *c)
{
	struct choice smaller = *c;
	char why[WHY_BYTES];

	memcpy(why, t->failure->why, sizeof(why));
	for (size_t i = 0; i < t->pending.n; i++) {
		uint8_t fate = c->fate[i];

		if (fate == FATE_KEPT)
			continue;
		c->fate[i] = FATE_KEPT;
		if (judge_choice(t, &smaller, false))
			c->fate[i] = fate;
		else
			memcpy(why, t->failure->why, sizeof(why));
	}
	memcpy(t->failure->why, why, sizeof(why));
	pending_describe(&t->pending, &smaller, t->failure->events,
			 sizeof(t->failure->events));
}

static bool on_choice(void *opaque, const struct choice *c)
{
	struct trial *t = opaque;

	if (judge_choice(t, c, true))
		return true;
	describe_failure(t, c);
	return false;
}

/* ---- Steps --------------------------------------------------------------- */

static const struct op *step_op(const struct trial *t, unsigned step)
{
	static const struct op open = { .kind = OP_FLUSH };
	static const struct op close = { .kind = OP_REOPEN };

	return step == 0        ? &open
	       : step > t->w->n ? &close
				: &t->fitting.ops[step - 1];
}

static void submit(struct trial *t, unsigned step)
{
	const struct op *op = step_op(t, step);
	uint32_t unit = t->base->config->cluster / MODEL_SECTOR;

	if (step && step <= t->w->n)
		model_submit(&t->model, op, VALUE_FIRST + step - 1);
	if (op->len)
		t->touched += op->len / unit + 2;
	if (op_is_change(op))
		t->touched += t->model.room / unit + 16;
	t->past = hash_mix(t->past, (uint64_t)op->kind << 1 | op->fua);
	t->past = hash_mix(t->past, (uint64_t)op->off << 32 | op->len);
}

static void settle(struct trial *t, unsigned step)
{
	const struct op *op = step_op(t, step);

	model_complete(&t->model, op);
	if (op_is_change(op))
		t->past = t->interval = hash_mix(t->past, step);
	if (!op_settles(op))
		return;
	model_settle(&t->model);
	t->touched_before = t->touched;
	t->touched = 0;
	t->past = hash_mix(t->past, step);
	t->interval = t->past;
}

static bool enumerate_step(struct trial *t, unsigned step)
{
	struct visitor v = { on_choice, t, &t->env->effort, &t->rng };
	size_t begin = step ? t->step_end[step - 1] : 0;

	submit(t, step);
	for (size_t i = begin; i < t->step_end[step]; i++) {
		const struct record_event *ev = record_event(t->log, i);
		bool flush = ev->op == STORE_OP_FLUSH;

		if (flush && !enumerate_epoch(&t->pending, &v))
			return false;
		pending_add(&t->pending, ev);
		if (!flush && !enumerate_last(&t->pending, &v))
			return false;
	}
	settle(t, step);
	return !(op_settles(step_op(t, step)) ||
		 op_is_change(step_op(t, step))) ||
	       enumerate_all(&t->pending, &v);
}

/* The image was closed and nothing was lost: every sector is the newest,
 * nothing leaks. */
static bool judge_end(struct trial *t)
{
	struct choice all = { t->pending.fates, TEAR_FIRST, 0 };
	struct qcow2_store *files[BASE_FILES];
	bool ok;

	if (t->pending.n)
		memset(t->pending.fates, FATE_KEPT, t->pending.n);
	pending_build(&t->pending, &all, files);
	ok = verify_state(t->base, files, &t->model, true, t->base->leaks, NULL,
			  t->failure->why);
	if (!ok)
		snprintf(t->failure->events, FAILURE_BYTES,
			 "    closed, nothing lost\n");
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return ok;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
	while (*text)
		h = hash_mix(h, (uint8_t)*text++);
	return h;
}

static bool trial_at(const struct trial_env *env, const struct base *b,
		     const struct workload *w, unsigned depth,
		     struct failure *failure)
{
	struct trial t = { .env = env,
			   .base = b,
			   .w = w,
			   .failure = failure,
			   .depth = depth,
			   .fault = FAULT_INIT };
	bool ok;

	memset(failure, 0, sizeof(*failure));
	env->stats->trials++;
	t.past = hash_text(hash_files(b->files), b->config->name);
	t.interval = t.past;
	t.rng = test_rng_init(t.past ^ env->seed);
	t.model = model_copy(&b->model);
	t.log = record_log_new();
	t.seen = seen_new();
	pending_init(&t.pending, b->files);
	ok = record(&t);
	for (unsigned step = 0; ok && step < n_steps(&t); step++)
		ok = enumerate_step(&t, step);
	if (ok)
		ok = judge_end(&t);
	pending_release(&t.pending);
	seen_free(t.seen);
	record_log_free(t.log);
	model_free(&t.model);
	return ok;
}

bool trial_run(const struct trial_env *env, const struct base *b,
	       const struct workload *w, struct failure *failure)
{
	return trial_at(env, b, w, 0, failure);
}

void trial_shrink(const struct trial_env *env, const struct base *b,
		  struct workload *w, struct failure *failure)
{
	struct stats stats = { 0 };
	struct trial_env quiet = *env;
	struct failure found;

	quiet.stats = &stats;
	quiet.seen = NULL;
	for (unsigned i = 0; i < w->n;) {
		struct workload shorter = *w;

		memmove(&shorter.ops[i], &shorter.ops[i + 1],
			(w->n - i - 1) * sizeof(w->ops[0]));
		shorter.n--;
		if (trial_run(&quiet, b, &shorter, &found)) {
			i++;
			continue;
		}
		*w = shorter;
		*failure = found;
		i = 0;
	}
}
