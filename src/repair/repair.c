#include "repair/repair.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"
#include "repair/context.h"
#include "store/store.h"

#define PERMILLE 1000u

void repair_validate(const struct repair *r)
{
	assert(r->what == REPAIR_LEAKS || r->what == REPAIR_REFCOUNTS ||
	       r->what == REPAIR_ALL);
	assert(r->permille <= PERMILLE);
	/* "The check that was made last". */
	assert(implies(r->has_check, r->n_checks));
	if (r->has_check)
		check_validate(&r->c);
}

/* ---- What the caller hears ----------------------------------------------- */

/* Whether a repair of this kind was to put the defect right. */
static bool is_asked(const struct repair *r, int defect)
{
	const struct defect_info *info = defect_info(defect);

	if (!info || info->repair == DEFECT_REPAIR_NEVER)
		return false;
	return info->repair == DEFECT_REPAIR_LEAKS || r->what == REPAIR_ALL;
}

static void on_report(void *opaque, const struct qcow2_finding *finding)
{
	struct repair *r = opaque;
	struct qcow2_finding own = *finding;

	if (!r->user->report)
		return;
	if (own.action == QCOW2_ACTION_NONE && is_asked(r, own.defect) &&
	    own.severity != QCOW2_SEVERITY_NONE)
		own.action = QCOW2_ACTION_FAILED;
	r->user->report(r->user->opaque, &own);
}

/* The number of checks shows only as they come: each has half of the range that
 * the ones before left. */
static int on_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct repair *r = opaque;
	uint32_t left = r->n_checks < 10 ? PERMILLE >> r->n_checks : 0;

	if (!r->user->progress)
		return 0;
	r->permille = PERMILLE - 2 * left + (uint32_t)(left * done / total);
	return r->user->progress(r->user->opaque, r->permille, PERMILLE);
}

static int finish_progress(struct repair *r, struct qcow2_error *err)
{
	if (!r->user->progress ||
	    r->user->progress(r->user->opaque, PERMILLE, PERMILLE) == 0)
		return 0;
	return error_set(err, -ECANCELED, "the repair was stopped");
}

void repair_tell(struct repair *r, enum defect defect, uint64_t host_off,
		 const char *fmt, ...)
{
	const struct defect_info *info = defect_info((int)defect);
	char message[400];
	struct qcow2_finding finding = {
		.defect = (int32_t)defect,
		.severity = (enum qcow2_severity)info->severity,
		.host_off = host_off,
		.message = message,
		.action = QCOW2_ACTION_REPAIRED,
	};
	va_list ap;

	r->fixed.corruptions_fixed++;
	if (!r->user->report)
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	r->user->report(r->user->opaque, &finding);
}

/* ---- Looking ------------------------------------------------------------- */

static void repair_forget(struct repair *r)
{
	if (r->has_check)
		check_end(&r->c);
	r->has_check = false;
}

int repair_look(struct repair *r, struct check_mode mode, bool aloud,
		struct qcow2_error *err)
{
	repair_forget(r);
	r->n_checks++;
	r->found = (struct qcow2_check_result){ 0 };
	check_begin(&r->c, r->file, aloud ? &r->aloud : &r->silent, &r->found);
	r->c.mode = mode;
	r->has_check = true;
	r->stale = false;
	return check_run(&r->c, err);
}

static struct check_mode usual_mode(const struct repair *r)
{
	return (struct check_mode){ .tolerant = r->what == REPAIR_ALL };
}

int repair_look_again(struct repair *r, struct qcow2_error *err)
{
	return r->stale ? repair_look(r, usual_mode(r), false, err) : 0;
}

int repair_barrier(struct repair *r, struct qcow2_error *err)
{
	return store_flush(r->file, err);
}

bool repair_is_sole(const struct repair *r, uint64_t host_off)
{
	uint32_t word = refs_get(&r->c.refs, check_cluster(&r->c, host_off));

	return refs_use(word) != USE_CONFLICT;
}

/* ---- Stages -------------------------------------------------------------- */

static bool found(const struct repair *r, enum defect defect)
{
	return defect_set_has(&r->c.report.found, defect);
}

/* Something is wrong besides leaks and flags. */
static bool is_corrupt(const struct repair *r)
{
	uint64_t n = 0;

	for (int d = 1; d < DEFECT_COUNT; d++)
		if (d != DEFECT_COPIED_FLAG && d != DEFECT_REFCOUNT_LEAK &&
		    d != DEFECT_HEADER_DIRTY_BIT &&
		    d != DEFECT_HEADER_CORRUPT_BIT &&
		    d != DEFECT_EXTENSION_FEATURE_TABLE)
			n += found(r, (enum defect)d);
	return n || r->found.check_errors;
}

static int repair_leaks(struct repair *r, struct qcow2_error *err)
{
	int rc = 0;

	if (found(r, DEFECT_REFCOUNT_LEAK))
		rc = repair_lower(r, true, err);
	/* Flags were judged by refcounts that may have changed. */
	if (rc == 0 && !is_corrupt(r) &&
	    (r->made_sole || found(r, DEFECT_COPIED_FLAG)))
		rc = repair_flags(r, false, err);
	r->stale = true;
	return rc;
}

static int repair_counts(struct repair *r, struct qcow2_error *err)
{
	int rc;

	if (!found(r, DEFECT_REFCOUNT_TOO_LOW) &&
	    !found(r, DEFECT_REFCOUNT_LEAK) && !found(r, DEFECT_COPIED_FLAG) &&
	    !found(r, DEFECT_CLUSTER_OVERLAP))
		return 0;
	rc = repair_raise(r, err);
	if (rc == 0)
		rc = repair_flags(r, true, err);
	if (rc == 0)
		rc = repair_lower(r, true, err);
	r->stale = true;
	return rc;
}

static int repair_stages(struct repair *r, struct qcow2_error *err)
{
	int rc;

	VALIDATE(repair, r);
	rc = repair_extensions(r, err);
	if (rc < 0 || r->what == REPAIR_LEAKS)
		return rc < 0 ? rc : repair_leaks(r, err);
	rc = repair_replace(r, err);
	if (rc == 0)
		rc = repair_look_again(r, err);
	if (rc == 0 && r->what == REPAIR_ALL)
		rc = repair_entries(r, err);
	if (rc == 0)
		rc = repair_look_again(r, err);
	if (rc == 0)
		rc = repair_counts(r, err);
	return rc;
}

/* The verdict.  The bits go when nothing is left that they warn of; the rest is
 * told. */
static int repair_finish(struct repair *r, struct qcow2_error *err)
{
	int rc;

	r->stale = true;
	rc = repair_look_again(r, err);
	if (rc < 0)
		return rc;
	if (!r->found.corruptions && !r->found.check_errors) {
		rc = repair_clear_bits(r, INCOMPAT_DIRTY | INCOMPAT_CORRUPT, 0,
				       err);
		r->c.report.noted = r->found.leaks ||
				    found(r, DEFECT_EXTENSION_FEATURE_TABLE);
	}
	if (rc < 0 || !r->c.report.noted)
		return rc;
	return repair_look(r, usual_mode(r), true, err);
}

static int repair_run(struct repair *r, struct qcow2_error *err)
{
	int rc;

	rc = repair_look(r, usual_mode(r), false, err);
	if (rc < 0)
		return rc;
	if (r->c.report.noted) {
		rc = repair_stages(r, err);
		if (rc == 0)
			rc = repair_finish(r, err);
	} else {
		rc = repair_autoclear(r, err);
	}
	return rc < 0 ? rc : finish_progress(r, err);
}

int repair_store(struct qcow2_store *file, const struct qcow2_check_opts *opts,
		 enum repair_what what, struct qcow2_check_result *result,
		 struct qcow2_error *err)
{
	static const struct qcow2_check_opts defaults = QCOW2_CHECK_OPTS_INIT;
	struct repair r = { .file = file, .what = what };
	int rc;

	r.user = opts ? opts : &defaults;
	r.silent = *r.user;
	r.silent.report = NULL;
	r.silent.progress = on_progress;
	r.silent.opaque = &r;
	r.aloud = r.silent;
	r.aloud.report = on_report;
	rc = repair_run(&r, err);
	repair_forget(&r);
	if (rc < 0)
		return rc;
	r.found.struct_size = result->struct_size;
	r.found.leaks_fixed = r.fixed.leaks_fixed;
	r.found.corruptions_fixed = r.fixed.corruptions_fixed;
	*result = r.found;
	return 0;
}
