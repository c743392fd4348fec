#include "crash/change.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "check/check.h"
#include "crash/change_ops.h"
#include "crash/cowstore.h"
#include "crash/enumerate.h"
#include "store/store.h"
#include "stores/record.h"

struct change_trial {
	const struct trial_env *env;
	const struct base *base;
	const char *change;
	struct pending pending;
	struct seen *seen;
	struct change_facts before;
	struct change_facts after;
	uint64_t leaks; /* that a crash may leave */
	struct failure *failure;
};

/* ---- Judging ------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool wrong(struct change_trial *t,
							const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(t->failure->why, WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

/* The contents of a sector that the disk had before, or that it grew by. */
static bool sector_is_right(const struct base *b, const uint8_t *sector,
			    uint32_t lba)
{
	uint32_t value = value_read(sector, lba);

	if (lba >= b->model.n_sectors)
		return value == VALUE_ZERO;
	return value == b->model.sectors[lba].values[0];
}

static bool extent_is_right(struct change_trial *t, struct qcow2_image *img,
			    const struct qcow2_extent *x)
{
	uint32_t first = (uint32_t)(x->off / MODEL_SECTOR);
	uint32_t n = (uint32_t)(x->len / MODEL_SECTOR);
	CLEANUP_FREE uint8_t *bytes = NULL;
	struct qcow2_error err = { 0 };

	/* A disk that has grown a lot would take long to read. */
	if (first >= t->base->model.n_sectors && (x->flags & QCOW2_EXTENT_ZERO))
		return true;
	bytes = malloc(x->len);
	assert(bytes);
	if (qcow2_pread(img, bytes, x->len, x->off, 0, &err) < 0)
		return wrong(t, "cannot be read: %s", err.message);
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *sector = bytes + (size_t)i * MODEL_SECTOR;

		if (!sector_is_right(t->base, sector, first + i))
			return wrong(t, "sector %" PRIu32 " is 0x%" PRIx32,
				     first + i, value_read(sector, first + i));
	}
	return true;
}

static bool contents_are_right(struct change_trial *t, struct qcow2_image *img)
{
	uint64_t old = (uint64_t)t->base->model.n_sectors * MODEL_SECTOR;
	uint64_t size = qcow2_size(img);
	struct qcow2_error err = { 0 };
	struct qcow2_extent x;

	/* The disk no longer shows the backing file then. */
	if (strstr(t->change, "no backing"))
		return true;
	for (uint64_t at = 0; at < size; at += x.len) {
		uint64_t end = at < old ? min_u64(old, size) : size;

		if (qcow2_map(img, end - at, at, 0, &x, &err) < 0)
			return wrong(t, "cannot be mapped: %s", err.message);
		if (!extent_is_right(t, img, &x))
			return false;
	}
	return true;
}

static bool disk_is_right(struct change_trial *t,
			  struct qcow2_store *files[BASE_FILES],
			  struct change_facts *now)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	bool ok;

	if (base_open(t->base, files, false, NULL, &img, &err) < 0)
		return wrong(t, "cannot be opened: %s", err.message);
	change_facts_get(now, img);
	ok = change_facts_equal(now, &t->before) ||
	     change_facts_equal(now, &t->after) ||
	     wrong(t, "neither old nor new: %s", now->text);
	if (ok)
		ok = contents_are_right(t, img);
	qcow2_close(img, NULL);
	return ok;
}

static bool snapshot_is_right(struct change_trial *t,
			      struct qcow2_store *files[BASE_FILES])
{
	size_t bytes = (size_t)t->base->model.n_sectors * MODEL_SECTOR;
	CLEANUP_FREE uint8_t *disk = malloc(bytes);
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc;

	assert(disk);
	if (!t->base->snapshot)
		return true;
	if (base_open(t->base, files, false, "1", &img, &err) < 0)
		return wrong(t, "the snapshot: %s", err.message);
	rc = qcow2_pread(img, disk, bytes, 0, 0, &err);
	qcow2_close(img, NULL);
	if (rc < 0)
		return wrong(t, "the snapshot: %s", err.message);
	return !memcmp(disk, t->base->snapshot, bytes) ||
	       wrong(t, "the snapshot changed");
}

static void keep_defect(void *opaque, const struct qcow2_finding *f)
{
	char *text = opaque;

	if (!*text && f->severity > QCOW2_SEVERITY_LEAK)
		snprintf(text, WHY_BYTES / 2, "%s", f->message);
}

static bool image_is_sound(struct change_trial *t,
			   struct qcow2_store *files[BASE_FILES],
			   uint64_t max_leaks)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct qcow2_error err = { 0 };
	char text[WHY_BYTES / 2] = "";

	opts.report = keep_defect;
	opts.opaque = text;
	if (check_store(files[0], &opts, &r, &err) < 0)
		return wrong(t, "cannot be checked: %s", err.message);
	if (r.corruptions || r.check_errors)
		return wrong(t, "%" PRIu64 " corruptions: %s", r.corruptions,
			     text);
	return r.leaks <= max_leaks ||
	       wrong(t, "%" PRIu64 " leaks, may be %" PRIu64, r.leaks,
		     max_leaks);
}

static bool state_is_right(struct change_trial *t,
			   struct qcow2_store *files[BASE_FILES],
			   uint64_t max_leaks, struct change_facts *now)
{
	return disk_is_right(t, files, now) && snapshot_is_right(t, files) &&
	       image_is_sound(t, files, max_leaks);
}

/* ---- Making the change --------------------------------------------------- */

static bool make_change(struct change_trial *t,
			struct qcow2_store *files[BASE_FILES])
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = base_open(t->base, files, true, NULL, &img, &err);

	if (rc < 0)
		return wrong(t, "opening: %s", err.message);
	rc = change_perform(img, t->change, &err);
	if (rc < 0) {
		qcow2_close(img, NULL);
		return wrong(t, "%s: %s", t->change, err.message);
	}
	return qcow2_close(img, &err) == 0 ||
	       wrong(t, "closing: %s", err.message);
}

/* The image that a crash left goes on as if nothing had been: the change is
 * made. */
static bool goes_on(struct change_trial *t,
		    struct qcow2_store *files[BASE_FILES], uint64_t max_leaks)
{
	struct change_facts now;

	return make_change(t, files) &&
	       state_is_right(t, files, max_leaks, &now) &&
	       (change_facts_equal(&now, &t->after) ||
		wrong(t, "the change, once more, did nothing"));
}

static bool judge(struct change_trial *t, struct qcow2_store *files[BASE_FILES])
{
	struct change_facts now;

	t->env->stats->distinct++;
	return state_is_right(t, files, t->leaks, &now) &&
	       goes_on(t, files, t->leaks);
}

static bool on_choice(void *opaque, const struct choice *c)
{
	struct change_trial *t = opaque;
	struct qcow2_store *files[BASE_FILES];
	uint64_t hash = 0;
	bool ok = true;

	pending_build(&t->pending, c, files);
	for (unsigned f = 0; f < BASE_FILES; f++)
		if (files[f])
			hash = hash_mix(hash, cow_hash(files[f]));
	t->env->stats->states++;
	if (seen_add(t->seen, hash))
		ok = judge(t, files);
	if (!ok)
		pending_describe(&t->pending, c, t->failure->events,
				 FAILURE_BYTES);
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return ok;
}

/* ---- A trial ------------------------------------------------------------- */

struct recording {
	struct record_log *log;
	struct qcow2_store *files[BASE_FILES];
};

static void record_begin(struct recording *r, const struct base *b)
{
	memset(r, 0, sizeof(*r));
	r->log = record_log_new();
	for (unsigned f = 0; f < BASE_FILES; f++) {
		struct qcow2_store *inner;

		if (!b->files[f])
			continue;
		inner = cow_clone(b->files[f]);
		record_store_new(r->log, inner, NULL, &r->files[f]);
		store_unref(inner);
	}
}

static void record_end(struct recording *r)
{
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(r->files[f]);
	record_log_free(r->log);
}

static bool enumerate(struct change_trial *t, const struct recording *r,
		      struct test_rng *rng)
{
	struct visitor v = { on_choice, t, &t->env->effort, rng };

	for (size_t i = 0; i < record_n_events(r->log); i++) {
		const struct record_event *ev = record_event(r->log, i);
		bool flush = ev->op == STORE_OP_FLUSH;

		if (flush && !enumerate_epoch(&t->pending, &v))
			return false;
		pending_add(&t->pending, ev);
		if (!flush && !enumerate_last(&t->pending, &v))
			return false;
	}
	return enumerate_all(&t->pending, &v);
}

static void facts_of(const struct base *b, struct qcow2_store *const *files,
		     struct change_facts *out)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = base_open(b, files, false, NULL, &img, &err);

	assert(rc == 0);
	(void)rc;
	change_facts_get(out, img);
	qcow2_close(img, NULL);
}

/* Clusters of both disks: a crash can find all of them on the way in or out. */
static uint64_t leak_limit(const struct change_trial *t)
{
	uint64_t cluster = t->base->config->cluster;

	return t->base->leaks + 2 * base_ahead(t->base) + 64 +
	       3 * (t->before.size + t->after.size) / cluster;
}

bool change_run(const struct trial_env *env, const struct base *b,
		const char *change, struct failure *failure)
{
	struct change_trial t = {
		.env = env, .base = b, .change = change, .failure = failure
	};
	struct test_rng rng = test_rng_init(env->seed);
	struct change_facts end;
	struct recording r;
	bool ok;

	memset(failure, 0, sizeof(*failure));
	env->stats->trials++;
	t.seen = seen_new();
	facts_of(b, b->files, &t.before);
	record_begin(&r, b);
	pending_init(&t.pending, b->files);
	ok = make_change(&t, r.files);
	if (ok) {
		facts_of(b, r.files, &t.after);
		ok = state_is_right(&t, r.files, b->leaks, &end);
		t.leaks = leak_limit(&t);
	}
	if (ok)
		ok = enumerate(&t, &r, &rng);
	pending_release(&t.pending);
	seen_free(t.seen);
	record_end(&r);
	return ok;
}
