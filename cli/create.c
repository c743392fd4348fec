/*
 * qcow2 create
 */
#include "create.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "json.h"
#include "open.h"
#include "placing.h"
#include "size.h"

struct create_options {
	struct common common;
	const char *format;
	const char *backing_file;
	const char *backing_format;
	struct create_lists lists;
	struct placing placing;
	bool unsafe;
};

static const struct option_spec create_table[] = {
	{ "format", 'f', "FMT", set_text,
	  offsetof(struct create_options, format),
	  "format of the new image: qcow2 or raw" },
	{ "backing-file", 'b', "FILE", set_text,
	  offsetof(struct create_options, backing_file),
	  "the new image shows the contents of FILE until they are "
	  "overwritten; a relative name counts from the new image's "
	  "directory" },
	{ "backing-file-format", 'F', "FMT", set_text,
	  offsetof(struct create_options, backing_format),
	  "format of the backing file" },
	{ "unsafe", 'u', NULL, set_flag,
	  offsetof(struct create_options, unsafe),
	  "do not look at the backing file, which need not exist" },
	{ "options", 'o', "KEY=VALUE,...", create_add_list,
	  offsetof(struct create_options, lists),
	  "properties of the image; 'help' lists them; a comma in a value is "
	  "written twice" },
	OPTION_IN_PLACE(struct create_options, placing),
	OPTION_REPLACE(struct create_options, placing),
	OPTION_QUIET,
	OPTION_OUTPUT,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_HELP,
	OPTION_REFUSED("object", 0, "DEF"),
	OPTION_END,
};

static const struct example create_examples[] = {
	{ "create disk.qcow2 20G", "an empty disk" },
	{ "create -b base.qcow2 -F qcow2 disk.qcow2",
	  "a disk that begins as another and leaves that as it is" },
	{ "create -o cluster_size=128k,extended_l2=on disk.qcow2 1T",
	  "a large disk with small units of allocation" },
	{ NULL, NULL },
};

static int refuse(const struct cli *cli, const struct create_plan *plan,
		  const char *why)
{
	cli_error(cli, plan->path, "%s", why);
	return -1;
}

/* ------------------------------------------------------------------------- */
/* From the command line to a plan                                           */

/* -b and -F override the same options of -o. */
static int take_backing(const struct cli *cli, const struct create_options *o,
			struct create_plan *plan)
{
	bool raw = plan->format == QCOW2_FORMAT_RAW;

	if (raw && (o->backing_file || o->backing_format))
		return refuse(cli, plan, "raw files have no backing files");
	if (o->backing_file)
		plan->values[KEY_BACKING_FILE].text = o->backing_file;
	if (o->backing_format)
		plan->values[KEY_BACKING_FMT].text = o->backing_format;
	create_record_paths(plan, o->unsafe);
	return 0;
}

static int take_size(const struct cli *cli, const char *text,
		     struct create_plan *plan)
{
	uint64_t size = 0;
	struct option_value v = {
		.cli = cli, .name = "SIZE", .arg = text, .field = &size
	};

	if (!text)
		return 0;
	if (plan->values[KEY_SIZE].text)
		return refuse(cli, plan, "the size is given twice");
	if (set_size(&v) < 0)
		return -1;
	create_set_size(plan, size);
	return 0;
}

static int check_size(const struct cli *cli, const struct create_plan *plan)
{
	const struct create_value *size = &plan->values[KEY_SIZE];

	if (!size->text)
		return refuse(cli, plan, "the image needs a size");
	if (size->number > INT64_MAX - 511)
		return refuse(cli, plan, "the size is beyond 8 EiB");
	return 0;
}

/* ------------------------------------------------------------------------- */

static void print_json(const struct create_plan *plan,
		       const struct placing *placing)
{
	struct json j;

	json_init(&j, stdout, JSON_PRETTY);
	json_object(&j, NULL);
	json_string(&j, "filename", plan->path);
	json_string(&j, "format", format_name(plan->format));
	json_u64(&j, "virtual-size",
		 (plan->values[KEY_SIZE].number + 511) & ~511ull);
	placing_json(&j, placing);
	json_end(&j);
}

static void take_placing(struct placing *p, struct qcow2_create_opts *opts)
{
	if (p->in_place)
		opts->flags |= QCOW2_CREATE_IN_PLACE;
	if (p->replace)
		opts->flags |= QCOW2_CREATE_REPLACE;
	opts->placement = &p->where;
}

static int make_qcow2(const struct cli *cli, const struct create_plan *plan,
		      const struct qcow2_create_opts *opts)
{
	struct qcow2_error err;

	if (qcow2_create_path(plan->path, opts, &err) == 0)
		return 0;
	cli_report(cli, plan->path, &err);
	return -1;
}

static int make(const struct cli *cli, struct create_options *o,
		const struct create_plan *plan)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	bool raw = plan->format == QCOW2_FORMAT_RAW;
	int ret;

	if (!raw && create_fill_opts(cli, plan, &opts) < 0)
		return 1;
	if (!o->common.quiet && o->common.output == OUTPUT_HUMAN)
		create_print_plan(plan);
	take_placing(&o->placing, &opts);
	ret = raw ? create_raw(cli, plan, &o->placing)
		  : make_qcow2(cli, plan, &opts);
	if (ret == 0)
		placing_note(cli, &o->common, &o->placing, plan->path);
	else
		placing_note_failure(cli, &o->placing);
	if (ret == 0 && o->common.output == OUTPUT_JSON)
		print_json(plan, &o->placing);
	return ret < 0;
}

static int create_image(const struct cli *cli, struct create_options *o,
			struct create_plan *plan, const char *size)
{
	int status = 1;

	if (placing_check(cli, &o->placing) == 0 &&
	    create_take_lists(cli, &o->lists, plan) == 0 &&
	    take_backing(cli, o, plan) == 0 &&
	    take_size(cli, size, plan) == 0 &&
	    create_check_backing(cli, &o->common, plan, o->unsafe) == 0 &&
	    check_size(cli, plan) == 0)
		status = make(cli, o, plan);
	return status;
}

static int create_run(const struct cli *cli, int argc, char **argv)
{
	struct create_options o = { .common = COMMON_INIT(cli),
				    .format = cli->as->create_format,
				    .placing.where = QCOW2_PLACEMENT_INIT };
	struct create_plan plan = { .path = NULL };
	int status;
	int first =
		command_begin(cli, &command_create, argc, argv, &o, &status);

	if (first == 0)
		return status;
	if (!format_by_name(o.format, &plan.format)) {
		cli_error(cli, "-f",
			  "unknown format '%s'; this version makes "
			  "qcow2 and raw",
			  ESC(o.format));
		return 1;
	}
	if (create_lists_want_help(&o.lists)) {
		create_print_help(plan.format);
		return 0;
	}
	if (first == argc) {
		cli_error(cli, NULL, "create needs the name of a new image");
		return 1;
	}
	plan.path = argv[first];
	status = create_image(cli, &o, &plan, argv[first + 1]);
	create_lists_release(&o.lists);
	return status;
}

const struct command command_create = {
	.name = "create",
	.summary = "make a new image",
	.operands = "FILE [SIZE]",
	.n_operands_max = 2,
	.options = create_table,
	.examples = create_examples,
	.changes = true,
	.failure = 1,
	.run = create_run,
};
