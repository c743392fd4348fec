#include "faults/session.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/cowstore.h"
#include "store/store.h"

#define VALUE_FIRST 0x1000u

/* A failure may cost leaks; the crash suite bounds them. */
#define LEAKS_ANY UINT64_MAX

/* Ends a walk over n that never ends by itself. */
enum { NTH_MAX = 100000 };

struct session {
	const struct injector *in;
	struct base base;         /* its backing file is under fire too */
	const struct base *clean; /* the same, where nothing fails */
	struct qcow2_store *disk[BASE_FILES];  /* surviving contents */
	struct qcow2_store *files[BASE_FILES]; /* the same, under fire */
	struct qcow2_image *img;
	struct model now;   /* contents for a reader of the open image */
	struct model later; /* contents for one who opens the files */
	bool fired;
	bool flush_failed;
	bool barrier_failed; /* this may have ended the image */
	char *why;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct session *s,
						       const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(s->why, WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

/* ---- The injector -------------------------------------------------------- */

static void arm(struct session *s, uint64_t nth)
{
	s->in->arm(s->in->self, nth);
}

/* Calls before cease_end() are not under fire. */
static void cease(struct session *s)
{
	s->fired |= s->in->fired(s->in->self) != 0;
	arm(s, 0);
}

static uint64_t barriers_failed(const struct session *s)
{
	return s->in->barriers_failed ? s->in->barriers_failed(s->in->self) : 0;
}

static void cease_end(struct session *s)
{
	if (s->in->persistent)
		arm(s, 1);
}

/* ---- Judging ------------------------------------------------------------- */

/* The contents of the disk through the open image. */
static bool read_is_right(struct session *s)
{
	uint32_t n = (uint32_t)(qcow2_size(s->img) / MODEL_SECTOR);
	size_t bytes = (size_t)n * MODEL_SECTOR;
	uint8_t *disk = malloc(bytes);
	struct qcow2_error err = { 0 };
	uint32_t bad;
	int rc;

	assert(disk);
	rc = qcow2_pread(s->img, disk, bytes, 0, 0, &err);
	bad = rc < 0 ? 0 : model_compare(&s->now, disk, n, false);
	free(disk);
	if (rc < 0)
		return fail(s, "a read after the failure: %s", err.message);
	if (!model_allows_size(&s->now, n, true))
		return fail(s, "after the failure there are %u sectors", n);
	if (bad < n)
		return fail(s, "after the failure sector %u is wrong", bad);
	return true;
}

static void settle(struct session *s)
{
	if (s->in->settle)
		s->in->settle(s->in->self);
}

static void clone_disk(struct session *s, struct qcow2_store *files[BASE_FILES])
{
	settle(s);
	for (unsigned f = 0; f < BASE_FILES; f++)
		files[f] = s->disk[f] ? cow_clone(s->disk[f]) : NULL;
}

/* Works on a copy: looking may repair refcounts, and the open image must not
 * find that done. */
static bool disk_is_right(struct session *s)
{
	struct qcow2_store *files[BASE_FILES];
	bool ok;

	clone_disk(s, files);
	ok = verify_state(s->clean, files, &s->later, false, LEAKS_ANY, NULL,
			  s->why);
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return ok;
}

static bool judge(struct session *s)
{
	bool ok;

	cease(s);
	ok = (!s->img || read_is_right(s)) && disk_is_right(s);
	cease_end(s);
	return ok;
}

static bool is_listed(struct qcow2_image *img, const char *name)
{
	struct qcow2_snapshot_info info = { .struct_size = sizeof(info) };

	for (uint32_t i = 0; qcow2_get_snapshot(img, i, &info, NULL) == 0; i++)
		if (!strcmp(info.name, name))
			return true;
	return false;
}

/* Notes the sizes that the disk may have, from before a change and from the
 * open image after it.  Failures before this change were for good. */
static void note_size(struct model *m, const struct model *before,
		      struct qcow2_image *img)
{
	uint32_t n = (uint32_t)(qcow2_size(img) / MODEL_SECTOR);

	if (before->other_sectors != before->n_sectors &&
	    n == before->n_sectors) {
		m->n_sectors = n;
		m->other_sectors = before->other_sectors;
	} else if (n == m->other_sectors) {
		m->other_sectors = m->n_sectors;
		m->n_sectors = n;
	}
}

/* After a failure only the open image knows the contents that a snapshot will
 * keep. */
static void note_seen(struct session *s)
{
	uint32_t n = (uint32_t)(qcow2_size(s->img) / MODEL_SECTOR);
	uint8_t *disk = malloc((size_t)n * MODEL_SECTOR + 1);
	int rc;

	assert(disk);
	cease(s);
	rc = qcow2_pread(s->img, disk, (size_t)n * MODEL_SECTOR, 0, 0, NULL);
	cease_end(s);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct model_sector *later = &s->later.sectors[i];
		uint32_t value = value_read(disk + i * MODEL_SECTOR, i);

		model_set(&s->now, i, value);
		if (later->values[later->n - 1] != value)
			later->values[later->n++] = value;
	}
	free(disk);
}

/* A change that failed happened or did not.  The open image knows which; the
 * contents of the files show only when it is opened anew. */
static void note_failed_change(struct session *s, const struct op *op,
			       const struct model *now,
			       const struct model *later)
{
	struct model_snapshot *kept;

	s->later.flags_lie |= s->later.flags_may_lie;
	s->now.flags_lie |= s->now.flags_may_lie;
	if (!s->img)
		return;
	note_size(&s->now, now, s->img);
	note_size(&s->later, later, s->img);
	if (op->kind != OP_SNAPSHOT && op->kind != OP_DELETE)
		return;
	kept = &s->now.snapshots[op->off];
	kept->may_be = is_listed(s->img, base_snapshot_name(op->off));
	kept->must_be = kept->may_be;
}

static void note_change(struct session *s, const struct op *op, uint32_t value,
			bool succeeded)
{
	struct model now = s->now, later = s->later;

	model_submit(&s->now, op, value);
	model_submit(&s->later, op, value);
	if (!succeeded) {
		note_failed_change(s, op, &now, &later);
		return;
	}
	model_complete(&s->now, op);
	model_complete(&s->later, op);
}

/* The sectors that the operation concerns have its value now, or may have it;
 * values before are gone if it succeeded. */
static void note_outcome(struct model *m, const struct op *op, uint32_t value,
			 bool succeeded)
{
	struct model before = model_copy(m);

	model_submit(m, op, value);
	for (uint32_t i = 0; succeeded && i < m->room; i++) {
		const struct model_sector *s = &m->sectors[i];

		if (s->n > before.sectors[i].n)
			model_set(m, i, s->values[s->n - 1]);
	}
	model_free(&before);
}

static void note_durable(struct session *s)
{
	model_free(&s->later);
	s->later = model_copy(&s->now);
}

/* ---- Operations ---------------------------------------------------------- */

static bool must_fail(const struct session *s, const struct op *op)
{
	if (!s->flush_failed)
		return false;
	return op->kind == OP_FLUSH || op->kind == OP_WRITE ||
	       op->kind == OP_COMPRESS || op->fua;
}

static bool result_is_right(struct session *s, const struct op *op, bool fires,
			    int rc, const struct qcow2_error *err)
{
	if (rc < 0 && !s->fired)
		return fail(s, "fails without reason: %s", err->message);
	if (rc < 0 && !fires && !s->barrier_failed)
		return fail(s, "fails although nothing does any more: %s",
			    err->message);
	if (rc < 0 && (err->code != rc || !err->message[0]))
		return fail(s, "returns %d, explains %d", rc, err->code);
	if (rc == 0 && must_fail(s, op))
		return fail(s, "succeeds after a barrier that failed");
	if (rc == 0 && fires && s->in->barriers)
		return fail(s, "hides a barrier that failed");
	return true;
}

static bool perform(struct session *s, const struct op *wanted, uint32_t value)
{
	uint64_t before = s->in->fired(s->in->self);
	uint64_t barriers = barriers_failed(s);
	struct op fitting = model_fit(&s->now, *wanted), *op = &fitting;
	struct qcow2_error err = { 0 };
	bool fires, first;
	int rc;

	if (op->kind == OP_SNAPSHOT && s->fired)
		note_seen(s);
	rc = base_perform(&s->base, s->files, &s->img, op, value, &err);

	fires = s->in->fired(s->in->self) != before;
	first = fires && !s->fired;
	s->fired |= fires;
	/* Other refcounts that cannot be opened end it too. */
	s->barrier_failed |= barriers_failed(s) != barriers ||
			     (rc < 0 && op->kind == OP_WIDTH);
	if (op_is_change(op)) {
		note_change(s, op, value, rc == 0);
	} else {
		note_outcome(&s->now, op, value, rc == 0);
		model_submit(&s->later, op, value);
	}
	if (rc == 0 && op_settles(op))
		note_durable(s);
	if (!result_is_right(s, op, fires, rc, &err))
		return false;
	/* New refcounts of another width belong to nobody when their barrier
	 * fails, and everything before them is durable. */
	if (rc < 0 && op->kind != OP_WIDTH && barriers_failed(s) != barriers)
		s->flush_failed = true;
	if (rc == 0 && op->kind == OP_REOPEN)
		s->flush_failed = s->barrier_failed = false;
	if (first || (s->fired && (rc < 0 || op_settles(op))))
		return judge(s);
	return true;
}

static bool open_image(struct session *s)
{
	struct qcow2_error err = { 0 };
	int rc = base_open(&s->base, s->files, true, NULL, &s->img, &err);

	s->fired = s->in->fired(s->in->self) != 0;
	if (rc < 0 && (!s->fired || err.code != rc))
		return fail(s, "opening: %d: %s", rc, err.message);
	return true;
}

static bool close_image(struct session *s)
{
	uint64_t before = s->in->fired(s->in->self);
	struct qcow2_error err = { 0 };
	int rc = qcow2_close(s->img, &err);
	bool fires = s->in->fired(s->in->self) != before;

	s->img = NULL;
	s->fired |= fires;
	if (rc < 0 && (!s->fired || err.code != rc))
		return fail(s, "closing: %d: %s", rc, err.message);
	if (rc < 0 && !fires && !s->barrier_failed)
		return fail(s,
			    "closing fails although nothing does any more: "
			    "%s",
			    err.message);
	if (rc == 0 && (s->flush_failed || (fires && s->in->barriers)))
		return fail(s, "closing hides a barrier that failed");
	if (rc == 0)
		note_durable(s);
	return true;
}

static bool perform_all(struct session *s, const struct workload *w)
{
	for (unsigned i = 0; i < w->n && s->img; i++) {
		char text[WHY_BYTES];

		if (perform(s, &w->ops[i], VALUE_FIRST + i))
			continue;
		memcpy(text, s->why, sizeof(text));
		return fail(s, "operation %u: %.350s", i, text);
	}
	return true;
}

/* A program that opens the files afterwards can go on. */
static bool goes_on(struct session *s)
{
	struct qcow2_store *files[BASE_FILES];
	struct workload w;
	struct model found;
	struct base now;
	bool ok;

	cease(s);
	clone_disk(s, files);
	if (!verify_state(s->clean, files, &s->later, false, LEAKS_ANY, &found,
			  s->why)) {
		for (unsigned f = 0; f < BASE_FILES; f++)
			store_unref(files[f]);
		return false;
	}
	now = base_derive(s->clean, files, &found, LEAKS_ANY);
	ok = workload_parse(&w, "w 3 9; f; w 60 8; d 0 16; f; w 1 20; z 9 1");
	assert(ok);
	ok = verify_goes_on(&now, &w, s->why);
	base_free(&now);
	model_free(&found);
	return ok;
}

/* ---- One session --------------------------------------------------------- */

static void session_init(struct session *s, const struct injector *in,
			 const struct base *b, char *why)
{
	int rc = 0;

	*s = (struct session){ .in = in, .base = *b, .clean = b, .why = why };
	why[0] = '\0';
	arm(s, 0);
	for (unsigned f = 0; rc == 0 && f < BASE_FILES; f++) {
		if (!b->files[f])
			continue;
		s->disk[f] = cow_clone(b->files[f]);
		rc = in->wrap(in->self, s->disk[f], &s->files[f]);
	}
	if (rc == 0 && b->backing)
		rc = in->wrap(in->self, b->backing, &s->base.backing);
	assert(rc == 0);
	s->now = model_copy(&b->model);
	s->later = model_copy(&b->model);
}

static void session_release(struct session *s)
{
	cease(s);
	qcow2_close(s->img, NULL);
	if (s->base.backing)
		store_unref(s->base.backing);
	for (unsigned f = 0; f < BASE_FILES; f++) {
		store_unref(s->files[f]);
		store_unref(s->disk[f]);
	}
	model_free(&s->now);
	model_free(&s->later);
	if (s->in->release)
		s->in->release(s->in->self);
}

static bool run_and_judge(struct session *s, const struct workload *w,
			  uint64_t nth, bool *reached)
{
	bool ok;

	arm(s, nth);
	ok = open_image(s);
	if (ok && s->img)
		ok = perform_all(s, w);
	if (ok && s->img)
		ok = close_image(s);
	*reached = s->fired || s->in->fired(s->in->self);
	return ok && goes_on(s);
}

static uint64_t live(const struct injector *in)
{
	return in->live ? in->live(in->self) : 0;
}

bool session_run(const struct injector *in, const struct base *b,
		 const struct workload *w, uint64_t nth, bool *reached,
		 char why[WHY_BYTES])
{
	uint64_t before = live(in);
	struct session s;
	bool ok;

	session_init(&s, in, b, why);
	ok = run_and_judge(&s, w, nth, reached);
	session_release(&s);
	if (ok && live(in) != before)
		ok = fail(&s, "memory is left behind");
	return ok;
}

bool session_run_all(const struct injector *in, const struct base *b,
		     const struct workload *w, struct session_stats *stats,
		     uint64_t *nth, char why[WHY_BYTES])
{
	bool reached = true;

	for (*nth = 1; reached; ++*nth) {
		bool ok = session_run(in, b, w, *nth, &reached, why);

		stats->sessions++;
		stats->faults += reached;
		if (ok && *nth > NTH_MAX) {
			snprintf(why, WHY_BYTES, "it never ends");
			ok = false;
		}
		if (!ok)
			return false;
	}
	return true;
}
