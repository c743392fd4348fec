#include "check/report.h"

#include <errno.h>
#include <string.h>

#include "support/test.h"

struct heard {
	struct qcow2_finding last;
	char message[500];
	unsigned n;
	uint64_t done;
	uint64_t total;
	int answer;
};

static void hear(void *opaque, const struct qcow2_finding *f)
{
	struct heard *h = opaque;

	h->last = *f;
	strncpy(h->message, f->message, sizeof(h->message) - 1);
	h->n++;
}

static int hear_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct heard *h = opaque;

	h->done = done;
	h->total = total;
	h->n++;
	return h->answer;
}

TEST(findings_count_by_their_severity)
{
	struct qcow2_check_result result = { 0 };
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct heard h = { 0 };
	struct report r = { .opts = &opts, .result = &result };

	opts.report = hear;
	opts.opaque = &h;
	report_clusters(&r, DEFECT_REFCOUNT_LEAK, 7, 512, "seven");
	assert_int_equal(result.leaks, 7);
	assert_int_equal(h.last.severity, QCOW2_SEVERITY_LEAK);
	assert_string_equal(h.message, "seven");
	report_defect(&r, DEFECT_COPIED_FLAG, 1024, "entry %d", 5);
	assert_int_equal(result.corruptions, 1);
	assert_int_equal(h.last.severity, QCOW2_SEVERITY_CORRUPTION);
	assert_int_equal(h.last.defect, DEFECT_COPIED_FLAG);
	assert_int_equal(h.last.host_off, 1024);
	assert_string_equal(h.message, "entry 5");
	report_note(&r, DEFECT_HEADER_DIRTY_BIT, NOWHERE, "note");
	report_unchecked(&r, 3, NOWHERE, "unread");
	assert_int_equal(result.corruptions, 1);
	assert_int_equal(result.check_errors, 3);
	assert_int_equal(h.last.severity, QCOW2_SEVERITY_NONE);
	assert_int_equal(h.n, 4);
}

TEST(counting_needs_no_listener)
{
	struct qcow2_check_result result = { 0 };
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct report r = { .opts = &opts, .result = &result };

	report_defect(&r, DEFECT_COPIED_FLAG, 0, "x");
	report_clusters(&r, DEFECT_REFCOUNT_LEAK, 2, 0, "x");
	assert_int_equal(result.corruptions, 1);
	assert_int_equal(result.leaks, 2);
	assert_int_equal(report_progress(&r, 5, NULL), 0);
}

TEST(a_fault_is_told_with_its_numbers)
{
	struct qcow2_check_result result = { 0 };
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct heard h = { 0 };
	struct report r = { .opts = &opts, .result = &result };
	struct fault fault = { DEFECT_BITMAP_ENTRY, "type", 16, 7, 1 };

	opts.report = hear;
	opts.opaque = &h;
	report_fault(&r, &fault, 1000, "bitmap 'b'");
	assert_int_equal(h.last.host_off, 1016);
	assert_non_null(strstr(h.message, "bitmap 'b'"));
	assert_non_null(strstr(h.message, "type is 7, limit 1"));
	assert_int_equal(result.corruptions, 1);
}

TEST(progress_never_falls_and_can_stop)
{
	struct qcow2_check_result result = { 0 };
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct heard h = { 0 };
	struct report r = { .opts = &opts, .result = &result };

	opts.progress = hear_progress;
	opts.opaque = &h;
	assert_int_equal(report_progress(&r, 400, NULL), 0);
	assert_int_equal(report_progress(&r, 300, NULL), 0);
	assert_int_equal(h.done, 400);
	assert_int_equal(h.total, 1000);
	h.answer = 1;
	assert_int_equal(report_progress(&r, 500, NULL), -ECANCELED);
}
