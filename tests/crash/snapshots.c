#include "crash/snapshots.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "check/check.h"
#include "crash/cowstore.h"
#include "crash/enumerate.h"
#include "crash/generate.h"
#include "format/defect.h"
#include "format/header.h"
#include "store/store.h"
#include "stores/record.h"

#define VALUE_BEFORE 0x2000u
#define VALUE_LATER 0xe0000000u

enum { VM_BYTES = 3000, WORLD_SNAPSHOTS = 8 };

const struct snapshot_case snapshot_cases[] = {
	{ "512", "", "s a" },
	{ "512-used", "", "s a" },
	{ "512-used", "s a; w 3 4; d 20 2", "s b" },
	{ "512-used", "s a; w 3 4; d 20 2", "a a" },
	{ "512-used", "s a; w 3 4; d 20 2", "x a" },
	{ "512-used", "s a; w 3 4; s b; w 5 4; s c; z 0 9", "x b" },
	{ "512-used", "s a; w 3 4; s b; w 5 4; s c; z 0 9", "a b" },
	{ "512-used", "v", "S a" },
	{ "512-used", "v; S a; w 3 4", "a a" },
	{ "512-used", "v; S a; w 3 4", "x a" },
	{ "512-punch", "s a; w 0 9", "x a" },
	{ "512-v2", "", "s a" },
	{ "512-v2", "s a; w 3 4", "s b" },
	{ "512-v2", "s a; w 3 4", "a a" },
	{ "512-v2", "s a; w 3 4; w 60 2", "x a" },
	{ "512-rc64", "w 0 5; s a; w 2 5", "s b" },
	{ "512-block", "w 0 3; s a; w 1 1", "a a" },
	{ "512-table", "w 0 3", "s a" },
	{ "512-holes", "s a; w 20 4", "a a" },
	{ "512-holes", "s a; w 20 4", "x a" },
	{ "512-compressed", "s a; c 0 4", "s b" },
	{ "512-compressed", "s a; c 0 4; w 21 1", "a a" },
	{ "512-compressed", "s a; c 0 4; w 21 1", "x a" },
	{ "512-snapshot", "w 0 2", "x 1" },
	{ "512-snapshot", "w 0 2; w 61 1", "a 1" },
	{ "512-lazy", "s a; w 2 4", "s b" },
	{ "512-lazy", "s a; w 2 4", "a a" },
	{ "512-lazy", "s a; w 2 4", "x a" },
	{ "512-wide", "s a; w 300 4; w 0 2", "a a" },
	{ "512-wide", "s a; w 300 4; w 0 2", "x a" },
	{ "4k-used", "s a; w 3 9", "s b" },
	{ "4k-used", "s a; w 3 9", "a a" },
	{ "4k-used", "s a; w 3 9", "x a" },
	{ "4k-backing", "w 8 16; s a; w 3 9; d 8 8", "a a" },
	{ "4k-backing", "w 8 16; s a; w 3 9; d 8 8", "x a" },
	{ "4k-compressed", "s a; w 3 9", "x a" },
	{ "4k-prealloc", "s a; w 3 9", "a a" },
	{ "sub-used", "s a; w 1 3; z 33 4", "s b" },
	{ "sub-used", "s a; w 1 3; z 33 4", "a a" },
	{ "sub-used", "s a; w 1 3; z 33 4", "x a" },
	{ "64k-used", "s a; w 3 9", "a a" },
};

const unsigned n_snapshot_cases =
	sizeof(snapshot_cases) / sizeof(snapshot_cases[0]);

struct crash_world {
	uint64_t disk; /* hash of its contents, and its size */
	uint32_t n;
	char names[WORLD_SNAPSHOTS][16];
	uint64_t views[WORLD_SNAPSHOTS];
};

struct snapshot_trial {
	const struct trial_env *env;
	const struct base *base;
	const struct snapshot_case *c;
	struct pending pending;
	struct seen *seen;
	struct crash_world before;
	struct crash_world after;
	uint64_t leaks;
	struct failure *failure;
};

__attribute__((format(printf, 2, 3))) static bool
wrong(struct snapshot_trial *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(t->failure->why, WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

/* ---- The world ----------------------------------------------------------- */

/* VM state that the disk still has beside the snapshot belongs to nobody any
 * more, so only a snapshot's VM state counts there. */
static int hash_view(struct qcow2_image *img, bool vm, uint64_t *hash,
		     struct qcow2_error *err)
{
	uint64_t size = qcow2_size(img);
	CLEANUP_FREE uint8_t *bytes = calloc(1, size + VM_BYTES + 8);
	int rc;

	assert(bytes);
	rc = qcow2_pread(img, bytes, size, 0, 0, err);
	if (rc == 0 && vm)
		rc = qcow2_vmstate_read(img, bytes + size, VM_BYTES, 0, err);
	*hash = size;
	for (uint64_t i = 0; i < size + VM_BYTES; i += 8)
		*hash = hash_mix(*hash, get_be64(bytes + i));
	return rc;
}

static bool view_of(struct snapshot_trial *t,
		    struct qcow2_store *const files[BASE_FILES],
		    const char *snapshot, uint64_t *hash)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = base_open(t->base, files, false, snapshot, &img, &err);

	if (rc == 0) {
		rc = hash_view(img, snapshot, hash, &err);
		qcow2_close(img, NULL);
	}
	return rc == 0 || wrong(t, "%s cannot be read: %s",
				snapshot ? snapshot : "the disk", err.message);
}

static bool list_names(struct snapshot_trial *t,
		       struct qcow2_store *const files[BASE_FILES],
		       struct crash_world *w)
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	if (base_open(t->base, files, false, NULL, &img, &err) < 0)
		return wrong(t, "cannot be opened: %s", err.message);
	while (w->n < WORLD_SNAPSHOTS &&
	       qcow2_get_snapshot(img, w->n, &s, NULL) == 0)
		snprintf(w->names[w->n++], sizeof(w->names[0]), "%s", s.name);
	qcow2_close(img, NULL);
	return true;
}

static bool world_of(struct snapshot_trial *t,
		     struct qcow2_store *const files[BASE_FILES],
		     struct crash_world *w)
{
	memset(w, 0, sizeof(*w));
	if (!view_of(t, files, NULL, &w->disk) || !list_names(t, files, w))
		return false;
	for (uint32_t i = 0; i < w->n; i++)
		if (!view_of(t, files, w->names[i], &w->views[i]))
			return false;
	return true;
}

static bool same_snapshots(const struct crash_world *a,
			   const struct crash_world *b)
{
	return a->n == b->n && !memcmp(a->names, b->names, sizeof(a->names)) &&
	       !memcmp(a->views, b->views, sizeof(a->views));
}

static bool same_world(const struct crash_world *a, const struct crash_world *b)
{
	return a->disk == b->disk && same_snapshots(a, b);
}

/* ---- The check ----------------------------------------------------------- */

static bool is_dirty(const struct base *b, struct qcow2_store *file)
{
	uint8_t raw[8] = { 0 };

	store_pread(file, raw, sizeof(raw), HEADER_OFF_INCOMPAT, 0, NULL);
	return b->config->version != 2 && (get_be64(raw) & INCOMPAT_DIRTY);
}

struct findings {
	uint64_t n_flags;
	char first[WHY_BYTES / 2];
};

static void note(void *opaque, const struct qcow2_finding *f)
{
	struct findings *x = opaque;

	if (f->defect == DEFECT_COPIED_FLAG)
		x->n_flags++;
	else if (f->severity > QCOW2_SEVERITY_LEAK && !x->first[0])
		snprintf(x->first, sizeof(x->first), "%s", f->message);
}

/* Version 2 has no dirty bit, so a flag may disagree with a refcount there. */
static bool is_sound(struct snapshot_trial *t,
		     struct qcow2_store *const files[BASE_FILES],
		     uint64_t max_leaks)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct qcow2_error err = { 0 };
	struct findings found = { 0 };
	bool flags_count = t->base->config->version != 2;

	opts.report = note;
	opts.opaque = &found;
	if (check_store(files[0], &opts, &r, &err) < 0)
		return wrong(t, "cannot be checked: %s", err.message);
	if (is_dirty(t->base, files[0]))
		return true;
	if (r.check_errors || found.first[0] || (flags_count && found.n_flags))
		return wrong(t,
			     "%" PRIu64 " corruptions, %" PRIu64 " flags: %s",
			     r.corruptions, found.n_flags, found.first);
	return r.leaks <= max_leaks ||
	       wrong(t, "%" PRIu64 " leaks, may be %" PRIu64, r.leaks,
		     max_leaks);
}

/* ---- Steps --------------------------------------------------------------- */

static int create(struct qcow2_image *img, const char *name, uint64_t vm_size,
		  struct qcow2_error *err)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;

	opts.date_sec = 1;
	opts.vm_state_size = vm_size;
	return qcow2_snapshot_create(img, name, &opts, err);
}

static int write_vmstate(struct qcow2_image *img, struct qcow2_error *err)
{
	uint8_t bytes[VM_BYTES];

	for (unsigned i = 0; i < VM_BYTES; i++)
		bytes[i] = (uint8_t)(i * 7 + 1);
	return qcow2_vmstate_write(img, bytes, VM_BYTES, 0, err);
}

static int step(const struct base *b, struct qcow2_image *img, const char *text,
		uint32_t value, struct qcow2_error *err)
{
	struct qcow2_image *same = img;
	struct workload w;
	char name[16] = "";

	sscanf(text + 1, " %15s", name);
	switch (text[0]) {
	case 's':
		return create(img, name, 0, err);
	case 'S':
		return create(img, name, VM_BYTES, err);
	case 'a':
		return qcow2_snapshot_apply(img, name, err);
	case 'x':
		return qcow2_snapshot_delete(img, name, err);
	case 'v':
		return write_vmstate(img, err);
	default:
		break;
	}
	if (!workload_parse(&w, text) || w.n == 0)
		abort();
	return base_perform(b, b->files, &same, &w.ops[0], value, err);
}

static int steps(const struct base *b, struct qcow2_image *img,
		 const char *text, struct qcow2_error *err)
{
	uint32_t value = VALUE_BEFORE;
	int rc = 0;

	while (rc == 0 && text && *text) {
		char one[64];

		text += strspn(text, " ;");
		snprintf(one, sizeof(one), "%.*s", (int)strcspn(text, ";"),
			 text);
		rc = step(b, img, one, value++, err);
		text = strchr(text, ';');
	}
	return rc;
}

static bool make(struct snapshot_trial *t,
		 struct qcow2_store *const files[BASE_FILES], const char *text)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = base_open(t->base, files, true, NULL, &img, &err);

	if (rc < 0)
		return wrong(t, "opening: %s", err.message);
	rc = steps(t->base, img, text, &err);
	if (rc < 0) {
		qcow2_close(img, NULL);
		return wrong(t, "%s: %s", text, err.message);
	}
	return qcow2_close(img, &err) == 0 ||
	       wrong(t, "closing: %s", err.message);
}

/* ---- Judging ------------------------------------------------------------- */

/* Guests write whatever they like, and no snapshot changes. */
static bool write_on(struct snapshot_trial *t,
		     struct qcow2_store *const files[BASE_FILES], uint64_t hash)
{
	struct test_rng rng = test_rng_init(t->env->seed ^ hash);
	struct workload w = generate_random(&rng, t->base->config, 8);
	struct crash_world was, now;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	if (!world_of(t, files, &was))
		return false;
	if (base_open(t->base, files, true, NULL, &img, &err) < 0)
		return wrong(t, "opening: %s", err.message);
	for (unsigned i = 0; i < w.n; i++)
		if (base_perform(t->base, files, &img, &w.ops[i],
				 VALUE_LATER + i, &err) < 0)
			return wrong(t, "writing on: %s", err.message);
	if (qcow2_close(img, &err) < 0)
		return wrong(t, "closing: %s", err.message);
	if (!world_of(t, files, &now) || !is_sound(t, files, t->leaks))
		return false;
	return same_snapshots(&was, &now) ||
	       wrong(t, "a write changed a snapshot");
}

static bool can_be_written(struct snapshot_trial *t,
			   struct qcow2_store *const files[BASE_FILES])
{
	struct qcow2_image *img;

	if (base_open(t->base, files, true, NULL, &img, NULL) < 0)
		return false;
	return qcow2_close(img, NULL) == 0;
}

static bool goes_on(struct snapshot_trial *t,
		    struct qcow2_store *const files[BASE_FILES],
		    const struct crash_world *now, uint64_t hash)
{
	struct crash_world then;

	/* An image that needs a repair first is left to the trials of
	 * repairs. */
	if (is_dirty(t->base, files[0]) && !can_be_written(t, files))
		return true;
	if (same_world(now, &t->before)) {
		if (!make(t, files, t->c->step) || !world_of(t, files, &then))
			return false;
		if (!same_world(&then, &t->after))
			return wrong(t, "once more, it ends elsewhere");
	}
	return write_on(t, files, hash);
}

static bool judge(struct snapshot_trial *t,
		  struct qcow2_store *const files[BASE_FILES], uint64_t hash)
{
	struct crash_world now;

	t->env->stats->distinct++;
	if (!world_of(t, files, &now) || !is_sound(t, files, t->leaks))
		return false;
	if (!same_world(&now, &t->before) && !same_world(&now, &t->after))
		return wrong(t,
			     "neither before nor after: the disk is %s, "
			     "%" PRIu32 " snapshots",
			     now.disk == t->before.disk  ? "before"
			     : now.disk == t->after.disk ? "after"
							 : "neither",
			     now.n);
	return goes_on(t, files, &now, hash);
}

static bool on_choice(void *opaque, const struct choice *c)
{
	struct snapshot_trial *t = opaque;
	struct qcow2_store *files[BASE_FILES];
	uint64_t hash;
	bool ok = true;

	pending_build(&t->pending, c, files);
	hash = cow_hash(files[0]);
	t->env->stats->states++;
	if (seen_add(t->seen, hash))
		ok = judge(t, files, hash);
	if (!ok)
		pending_describe(&t->pending, c, t->failure->events,
				 FAILURE_BYTES);
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return ok;
}

/* ---- A trial ------------------------------------------------------------- */

static bool enumerate(struct snapshot_trial *t, struct record_log *log,
		      struct test_rng *rng)
{
	struct visitor v = { on_choice, t, &t->env->effort, rng };

	for (size_t i = 0; i < record_n_events(log); i++) {
		const struct record_event *ev = record_event(log, i);
		bool flush = ev->op == STORE_OP_FLUSH;

		if (flush && !enumerate_epoch(&t->pending, &v))
			return false;
		pending_add(&t->pending, ev);
		if (!flush && !enumerate_last(&t->pending, &v))
			return false;
	}
	return enumerate_all(&t->pending, &v);
}

/* Every cluster of the disk may have a reference too many. */
static uint64_t leak_limit(const struct base *b)
{
	return b->leaks + 2 * base_ahead(b) + 64 +
	       3 * (uint64_t)b->config->sectors * MODEL_SECTOR /
		       b->config->cluster;
}

static bool record(struct snapshot_trial *t, struct record_log *log,
		   struct qcow2_store *start)
{
	struct qcow2_store *files[BASE_FILES] = { NULL };
	struct qcow2_store *inner = cow_clone(start);
	bool ok;

	record_store_new(log, inner, NULL, &files[0]);
	store_unref(inner);
	ok = make(t, files, t->c->step) && world_of(t, files, &t->after) &&
	     is_sound(t, files, t->base->leaks);
	store_unref(files[0]);
	return ok;
}

bool snapshots_run(const struct trial_env *env, const struct base *b,
		   const struct snapshot_case *c, struct failure *failure)
{
	struct snapshot_trial t = { .env = env,
				    .base = b,
				    .c = c,
				    .leaks = leak_limit(b),
				    .failure = failure };
	struct test_rng rng = test_rng_init(env->seed);
	struct record_log *log = record_log_new();
	struct qcow2_store *start[BASE_FILES] = { cow_clone(b->files[0]) };
	bool ok;

	memset(failure, 0, sizeof(*failure));
	env->stats->trials++;
	t.seen = seen_new();
	ok = make(&t, start, c->before) && world_of(&t, start, &t.before);
	pending_init(&t.pending, start);
	if (ok)
		ok = record(&t, log, start[0]) && enumerate(&t, log, &rng);
	pending_release(&t.pending);
	seen_free(t.seen);
	store_unref(start[0]);
	record_log_free(log);
	return ok;
}
