#include "check/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "format/defect.h"

#define PERMILLE 1000

static void report_tell(struct report *r, enum defect defect,
			enum qcow2_severity severity, uint64_t host_off,
			const char *fmt, va_list ap) PRINTF_LIKE(5, 0);

static bool is_wanted(const struct report *r, enum defect defect)
{
	return !r->only || defect_set_has(r->only, defect);
}

static void report_tell(struct report *r, enum defect defect,
			enum qcow2_severity severity, uint64_t host_off,
			const char *fmt, va_list ap)
{
	char message[400];
	struct qcow2_finding finding = {
		.defect = (int32_t)defect,
		.severity = severity,
		.host_off = host_off,
		.message = message,
		.action = r->action,
	};

	r->noted = true;
	if (!r->opts->report || !is_wanted(r, defect))
		return;
	vsnprintf(message, sizeof(message), fmt, ap);
	r->opts->report(r->opts->opaque, &finding);
}

static enum qcow2_severity report_count(struct report *r, enum defect defect,
					uint64_t n)
{
	enum defect_severity severity = defect_info((int)defect)->severity;

	defect_set_add(&r->found, defect);
	if (!is_wanted(r, defect))
		return (enum qcow2_severity)severity;
	if (severity == DEFECT_SEVERITY_LEAK)
		r->result->leaks += n;
	else
		r->result->corruptions += n;
	return (enum qcow2_severity)severity;
}

void report_defect(struct report *r, enum defect defect, uint64_t host_off,
		   const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_tell(r, defect, report_count(r, defect, 1), host_off, fmt, ap);
	va_end(ap);
}

void report_clusters(struct report *r, enum defect defect, uint64_t n,
		     uint64_t host_off, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_tell(r, defect, report_count(r, defect, n), host_off, fmt, ap);
	va_end(ap);
}

void report_fault(struct report *r, const struct fault *fault,
		  uint64_t host_base, const char *what)
{
	const char *text = defect_info((int)fault->defect)->text;

	report_defect(r, fault->defect, host_base + fault->off,
		      "%s: %s (%s is %" PRIu64 ", limit %" PRIu64 ")", what,
		      text, fault->field, fault->value, fault->limit);
}

void report_note(struct report *r, enum defect defect, uint64_t host_off,
		 const char *fmt, ...)
{
	va_list ap;

	defect_set_add(&r->found, defect);
	va_start(ap, fmt);
	report_tell(r, defect, QCOW2_SEVERITY_NONE, host_off, fmt, ap);
	va_end(ap);
}

void report_unchecked(struct report *r, uint64_t n, uint64_t host_off,
		      const char *fmt, ...)
{
	va_list ap;

	if (!r->only)
		r->result->check_errors += n;
	va_start(ap, fmt);
	report_tell(r, DEFECT_NONE, QCOW2_SEVERITY_NONE, host_off, fmt, ap);
	va_end(ap);
}

int report_progress(struct report *r, uint32_t permille,
		    struct qcow2_error *err)
{
	assert(permille <= PERMILLE);
	if (permille < r->permille)
		permille = r->permille;
	r->permille = permille;
	if (!r->opts->progress ||
	    r->opts->progress(r->opts->opaque, permille, PERMILLE) == 0)
		return 0;
	return error_set(err, -ECANCELED, "the check was stopped");
}
