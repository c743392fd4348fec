/*
 * qcow2 check
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "json.h"
#include "open.h"
#include "progress.h"

/* Scripts tell the results of check apart by these. */
enum check_status {
	CHECK_CLEAN = 0,
	CHECK_FAILED = 1,
	CHECK_CORRUPT = 2,
	CHECK_LEAKS = 3,
	CHECK_NOT_SUPPORTED = 63, /* nothing to check in this format */
};

struct check_options {
	struct common common;
	enum qcow2_format format;
	const struct cache_mode *cache;
	uint32_t repair; /* QCOW2_CHECK_REPAIR_*, 0: none */
	bool findings;
};

static int set_repair(const struct option_value *v)
{
	uint32_t *repair = v->field;

	if (strcmp(v->arg, "leaks") == 0) {
		*repair = QCOW2_CHECK_REPAIR_LEAKS;
	} else if (strcmp(v->arg, "all") == 0) {
		*repair = QCOW2_CHECK_REPAIR_ALL;
	} else {
		cli_error(v->cli, v->name, "'%s' is neither leaks nor all",
			  ESC(v->arg));
		return -1;
	}
	return 0;
}

static const struct option_spec check_table[] = {
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct check_options, format),
	  "format of the image: qcow2, raw, or probe (the default)" },
	OPTION_PROGRESS,
	OPTION_JSON_PROGRESS,
	OPTION_QUIET,
	OPTION_FORCE_SHARE,
	OPTION_OUTPUT,
	{ "source-cache", 'T', "CACHE", set_cache,
	  offsetof(struct check_options, cache),
	  "accepted for scripts, without effect" },
	{ "repair", 'r', "leaks|all", set_repair,
	  offsetof(struct check_options, repair),
	  "repair leaked clusters, or all that can be repaired; then check "
	  "again" },
	{ "findings", 0, NULL, set_flag,
	  offsetof(struct check_options, findings),
	  "with --output json: list the findings there" },
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example check_examples[] = {
	{ "check disk.qcow2", "is the image consistent?" },
	{ "check --output json disk.qcow2", "the same for a program" },
	{ "check -r all disk.qcow2", "repair the inconsistent parts" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* The answer                                                                */

static const char *severity_word(enum qcow2_severity severity)
{
	switch (severity) {
	case QCOW2_SEVERITY_NONE:
		return "Note";
	case QCOW2_SEVERITY_LEAK:
		return "Leak";
	default:
		return "ERROR";
	}
}

/* The state of a run, for the library's callbacks. */
struct run {
	struct progress progress;
	struct json json;
	bool listing; /* findings go into the JSON output */
	bool listed;  /* the list has begun */
};

static const char *finding_word(const struct qcow2_finding *f)
{
	if (f->action == QCOW2_ACTION_REPAIRED)
		return "Repairing";
	return severity_word(f->severity);
}

/* Findings go to standard error at once: there may be millions. */
static void print_finding(const struct qcow2_finding *f)
{
	const char *name = qcow2_defect_name(f->defect);

	fprintf(stderr, "%s ", finding_word(f));
	if (f->host_off != UINT64_MAX)
		fprintf(stderr, "at 0x%" PRIx64 " ", f->host_off);
	fprintf(stderr, "(%s): %s\n", name ? name : "unnamed", f->message);
}

static const char *action_word(uint32_t action)
{
	switch (action) {
	case QCOW2_ACTION_REPAIRED:
		return "repaired";
	case QCOW2_ACTION_FAILED:
		return "failed";
	default:
		return "none";
	}
}

static const char *severity_name(enum qcow2_severity severity)
{
	switch (severity) {
	case QCOW2_SEVERITY_NONE:
		return "note";
	case QCOW2_SEVERITY_LEAK:
		return "leak";
	default:
		return "corruption";
	}
}

/* The first finding begins the output. */
static void begin_list(struct run *run)
{
	if (run->listed)
		return;
	run->listed = true;
	json_init(&run->json, stdout, JSON_PRETTY);
	json_object(&run->json, NULL);
	json_list(&run->json, "findings");
}

static void list_finding(struct run *run, const struct qcow2_finding *f)
{
	const char *name = qcow2_defect_name(f->defect);
	struct json *j = &run->json;

	begin_list(run);
	json_object(j, NULL);
	if (name)
		json_string(j, "defect", name);
	else
		json_null(j, "defect");
	json_string(j, "severity", severity_name(f->severity));
	if (f->host_off != UINT64_MAX)
		json_u64(j, "offset", f->host_off);
	json_string(j, "action", action_word(f->action));
	json_string(j, "message", f->message);
	json_end(j);
}

static void on_finding(void *opaque, const struct qcow2_finding *f)
{
	struct run *run = opaque;

	if (run->listing)
		list_finding(run, f);
	else
		print_finding(f);
}

static int on_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct run *run = opaque;

	return progress_update(&run->progress, done, total);
}

static void json_unless_zero(struct json *j, const char *key, uint64_t value)
{
	if (value)
		json_u64(j, key, value);
}

static void print_members(struct json *j, const char *path,
			  const struct qcow2_check_result *r)
{
	json_unless_zero(j, "image-end-offset", r->image_end_off);
	json_unless_zero(j, "compressed-clusters", r->compressed_clusters);
	json_unless_zero(j, "total-clusters", r->total_clusters);
	json_unless_zero(j, "corruptions", r->corruptions);
	json_unless_zero(j, "corruptions-fixed", r->corruptions_fixed);
	json_u64(j, "check-errors", r->check_errors);
	json_unless_zero(j, "leaks", r->leaks);
	json_unless_zero(j, "leaks-fixed", r->leaks_fixed);
	json_unless_zero(j, "allocated-clusters", r->allocated_clusters);
	json_string(j, "filename", path);
	json_string(j, "format", "qcow2");
	json_unless_zero(j, "fragmented-clusters", r->fragmented_clusters);
	json_end(j);
}

static void print_json(struct run *run, const char *path,
		       const struct qcow2_check_result *r)
{
	if (run->listing) {
		begin_list(run);
		json_end(&run->json);
	} else {
		json_init(&run->json, stdout, JSON_PRETTY);
		json_object(&run->json, NULL);
	}
	print_members(&run->json, path, r);
}

/* Output that has begun ends as JSON whatever happens. */
static void abandon_list(struct run *run)
{
	if (!run->listed)
		return;
	json_end(&run->json);
	json_end(&run->json);
}

static double percent(uint64_t part, uint64_t whole)
{
	return 100.0 * (double)part / (double)whole;
}

static void print_statistics(const struct qcow2_check_result *r)
{
	if (r->total_clusters && r->allocated_clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %.2f%% allocated, "
		       "%.2f%% fragmented, %.2f%% compressed clusters\n",
		       r->allocated_clusters, r->total_clusters,
		       percent(r->allocated_clusters, r->total_clusters),
		       percent(r->fragmented_clusters, r->allocated_clusters),
		       percent(r->compressed_clusters, r->allocated_clusters));
	if (r->image_end_off)
		printf("Image end offset: %" PRIu64 "\n", r->image_end_off);
}

static void print_repairs(const struct qcow2_check_result *r)
{
	if (!r->leaks_fixed && !r->corruptions_fixed)
		return;
	printf("The following inconsistencies were found and repaired:\n\n"
	       "    %" PRIu64 " leaked clusters\n    %" PRIu64
	       " corruptions\n\nDouble checking the fixed image now...\n",
	       r->leaks_fixed, r->corruptions_fixed);
}

static void print_text(const struct qcow2_check_result *r)
{
	print_repairs(r);
	if (!r->corruptions && !r->leaks && !r->check_errors)
		printf("No errors were found on the image.\n");
	if (r->corruptions)
		printf("\n%" PRIu64 " errors were found on the image.\n"
		       "Data may be corrupted, or further writes to the image "
		       "may corrupt it.\n",
		       r->corruptions);
	if (r->leaks)
		printf("\n%" PRIu64 " leaked clusters were found on the "
		       "image.\nThis means waste of disk space, but no harm "
		       "to data.\n",
		       r->leaks);
	if (r->check_errors)
		printf("\n%" PRIu64 " internal errors have occurred during "
		       "the check.\n",
		       r->check_errors);
	print_statistics(r);
}

static int status_of(const struct qcow2_check_result *r)
{
	if (r->check_errors)
		return CHECK_FAILED;
	if (r->corruptions)
		return CHECK_CORRUPT;
	return r->leaks ? CHECK_LEAKS : CHECK_CLEAN;
}

/* ------------------------------------------------------------------------- */

static int check_qcow2(const struct cli *cli, const struct check_options *o,
		       const char *path)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct run run = { .listing = o->findings };
	struct qcow2_error err;
	int ret;

	opts.flags = o->repair |
		     (o->common.force_share ? QCOW2_CHECK_NO_LOCK : 0);
	opts.report = on_finding;
	opts.progress = on_progress;
	opts.opaque = &run;
	progress_begin(&run.progress, cli, &o->common, "check");
	ret = qcow2_check_path(path, &opts, &r, &err);
	progress_end(&run.progress, ret < 0 ? err.message : NULL);
	if (ret < 0) {
		abandon_list(&run);
		cli_report(cli, path, &err);
		return CHECK_FAILED;
	}
	if (o->repair && r.unlocked)
		warn_unlocked(cli, path);
	if (o->common.output == OUTPUT_JSON)
		print_json(&run, path, &r);
	else if (!o->common.quiet)
		print_text(&r);
	return status_of(&r);
}

/* Looks at the first bytes only, since an image that is damaged too much to
 * be opened is still to be checked.  Returns 0, or -1 after reporting. */
static int probe(const struct cli *cli, const char *path,
		 enum qcow2_format *format)
{
	static const char magic[4] = { 'Q', 'F', 'I', '\xfb' };
	char start[sizeof(magic)];
	struct qcow2_store *store;
	struct qcow2_error err;
	int ret;

	ret = qcow2_store_open_file(path, 0, &store, &err);
	if (ret == 0) {
		ret = qcow2_store_pread(store, start, sizeof(start), 0, 0,
					&err);
		qcow2_store_unref(store);
	}
	if (ret < 0) {
		cli_report(cli, path, &err);
		return -1;
	}
	*format = memcmp(start, magic, sizeof(magic)) == 0 ? QCOW2_FORMAT_QCOW2
							   : QCOW2_FORMAT_RAW;
	return 0;
}

static int check_run(const struct cli *cli, int argc, char **argv)
{
	struct check_options o = { COMMON_INIT(cli), QCOW2_FORMAT_PROBE, NULL,
				   0, false };
	int status;
	int first = command_begin(cli, &command_check, argc, argv, &o, &status);

	if (first == 0)
		return status;
	if (o.findings && o.common.output != OUTPUT_JSON) {
		cli_error(cli, NULL, "--findings needs --output json");
		return CHECK_FAILED;
	}
	if (o.format == QCOW2_FORMAT_PROBE &&
	    probe(cli, argv[first], &o.format) < 0)
		return CHECK_FAILED;
	if (o.format == QCOW2_FORMAT_QCOW2)
		return check_qcow2(cli, &o, argv[first]);
	cli_error(cli, argv[first], "there is nothing to check in a raw image");
	return CHECK_NOT_SUPPORTED;
}

const struct command command_check = {
	.name = "check",
	.summary = "tell whether an image is consistent, and repair it",
	.operands = "FILE",
	.n_operands_min = 1,
	.n_operands_max = 1,
	.options = check_table,
	.examples = check_examples,
	.exit_status = "  0   the image is consistent\n"
		       "  1   the check could not be made or completed\n"
		       "  2   the image is corrupt\n"
		       "  3   the image has leaked clusters, but its data is "
		       "safe\n"
		       "  63  the format has no checks\n",
	.changes = true,
	.failure = CHECK_FAILED,
	.run = check_run,
};
