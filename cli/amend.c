/*
 * qcow2 amend
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "create.h"
#include "open.h"
#include "progress.h"

struct amend_options {
	struct common common;
	enum qcow2_format format; /* DEFAULT: not said */
	struct create_lists lists;
	const struct cache_mode *cache;
};

static const struct option_spec amend_table[] = {
	{ "options", 'o', "KEY=VALUE,...", create_add_list,
	  offsetof(struct amend_options, lists),
	  "options to change; 'help' lists them; a comma in a value is written "
	  "twice" },
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct amend_options, format),
	  "format of the image: qcow2" },
	OPTION_PROGRESS,
	OPTION_JSON_PROGRESS,
	OPTION_QUIET,
	{ "cache", 't', "CACHE", set_cache,
	  offsetof(struct amend_options, cache),
	  "accepted for scripts, without effect" },
	{ "force", 0, NULL, set_nothing, 0,
	  "accepted for scripts, without effect" },
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_TRUST_REFCOUNTS,
	OPTION_BACKING_FORMAT,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example amend_examples[] = {
	{ "amend -o compat=1.1,lazy_refcounts=on disk.qcow2",
	  "bring an old image up to date" },
	{ "amend -p -o refcount_bits=64 disk.qcow2",
	  "allow more than 65535 snapshots to share a cluster" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* The changes to make                                                       */

static const bool amendable[N_CREATE_KEYS] = {
	[KEY_SIZE] = true,           [KEY_COMPAT] = true,
	[KEY_BACKING_FILE] = true,   [KEY_BACKING_FMT] = true,
	[KEY_DATA_FILE] = true,      [KEY_DATA_FILE_RAW] = true,
	[KEY_LAZY_REFCOUNTS] = true, [KEY_REFCOUNT_BITS] = true,
};

static int refuse(const struct cli *cli, const char *path, const char *why)
{
	cli_error(cli, path, "%s", why);
	return -1;
}

static int check_keys(const struct cli *cli, const struct create_plan *plan)
{
	for (int i = 0; i < N_CREATE_KEYS; i++) {
		if (!plan->values[i].text || amendable[i])
			continue;
		cli_error(cli, plan->path, "Invalid parameter '%s'",
			  create_key_name((enum create_key)i));
		cli_hint(cli, "This option is only supported for image "
			      "creation");
		return -1;
	}
	if (plan->values[KEY_DATA_FILE].text)
		return refuse(cli, plan->path,
			      "the name of the data file cannot be amended in "
			      "this version");
	if (cli->as->extras || (!plan->values[KEY_BACKING_FILE].text &&
				!plan->values[KEY_BACKING_FMT].text))
		return 0;
	refuse(cli, plan->path, "Cannot amend the backing file");
	cli_hint(cli, "You can use 'qemu-img rebase' instead.");
	return -1;
}

/* An empty name takes the backing file away. */
static void fill_backing(const struct create_plan *plan,
			 struct qcow2_amend_opts *opts)
{
	const char *name = plan->values[KEY_BACKING_FILE].text;
	const char *format = plan->values[KEY_BACKING_FMT].text;

	if (!name && !format)
		return;
	opts->set |= QCOW2_AMEND_BACKING;
	opts->backing_file = name && *name ? name : NULL;
	opts->backing_format = format && *format ? format : NULL;
}

static void fill_flag(const struct create_plan *plan, enum create_key key,
		      uint32_t what, struct qcow2_amend_opts *opts,
		      uint32_t *field)
{
	if (!plan->values[key].text)
		return;
	opts->set |= what;
	*field = (uint32_t)plan->values[key].number;
}

static int fill(const struct cli *cli, const struct create_plan *plan,
		struct qcow2_amend_opts *opts)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	if (create_fill_opts(cli, plan, &create) < 0)
		return -1;
	fill_flag(plan, KEY_LAZY_REFCOUNTS, QCOW2_AMEND_LAZY_REFCOUNTS, opts,
		  &opts->lazy_refcounts);
	fill_flag(plan, KEY_DATA_FILE_RAW, QCOW2_AMEND_DATA_FILE_RAW, opts,
		  &opts->data_file_raw);
	fill_flag(plan, KEY_REFCOUNT_BITS, QCOW2_AMEND_REFCOUNT_BITS, opts,
		  &opts->refcount_bits);
	fill_backing(plan, opts);
	if (plan->values[KEY_COMPAT].text)
		opts->set |= QCOW2_AMEND_VERSION;
	opts->version = create.version;
	if (plan->values[KEY_SIZE].text)
		opts->set |= QCOW2_AMEND_SIZE;
	opts->size = plan->values[KEY_SIZE].number;
	/* The tool that has this command line does so, too. */
	opts->flags = QCOW2_AMEND_SHRINK;
	return 0;
}

/* ------------------------------------------------------------------------- */

static int amend(const struct cli *cli, const struct amend_options *o,
		 const char *path, struct qcow2_amend_opts *opts,
		 struct qcow2_image *img)
{
	struct qcow2_error err;
	struct progress progress;
	int ret;

	progress_begin(&progress, cli, &o->common, "amend");
	opts->progress = progress_update;
	opts->opaque = &progress;
	ret = qcow2_amend(img, opts, &err);
	progress_end(&progress, ret < 0 ? err.message : NULL);
	if (ret < 0)
		cli_report(cli, path, &err);
	return ret < 0 ? -1 : 0;
}

static int amend_image(const struct cli *cli, const struct amend_options *o,
		       const char *path, struct qcow2_amend_opts *opts)
{
	struct source src = { path, o->format, QCOW2_OPEN_RDWR, NULL };
	struct qcow2_image *img;

	if (source_probe_format(cli, &o->common, &src) < 0)
		return 1;
	if (src.format == QCOW2_FORMAT_RAW) {
		cli_error(cli, path,
			  "Format driver 'raw' does not support "
			  "option amendment");
		return 1;
	}
	if (source_open(cli, &o->common, &src, &img) < 0)
		return 1;
	return source_close(cli, path, img, amend(cli, o, path, opts, img)) < 0;
}

/* An image below itself could not be opened any more. */
static int check_backing(const struct cli *cli, const struct amend_options *o,
			 struct create_plan *plan)
{
	const char *name = plan->values[KEY_BACKING_FILE].text;

	if (!name || !*name)
		return 0;
	create_record_paths(plan, true);
	return create_check_backing(cli, &o->common, plan, true);
}

static int amend_with_lists(const struct cli *cli, struct amend_options *o,
			    const char *path)
{
	struct create_plan plan = { .path = path,
				    .format = QCOW2_FORMAT_QCOW2 };
	struct qcow2_amend_opts opts = QCOW2_AMEND_OPTS_INIT;
	int status = 1;

	if (create_take_lists(cli, &o->lists, &plan) == 0 &&
	    check_keys(cli, &plan) == 0 && check_backing(cli, o, &plan) == 0 &&
	    fill(cli, &plan, &opts) == 0)
		status = amend_image(cli, o, path, &opts);
	create_lists_release(&o->lists);
	return status;
}

static int amend_run(const struct cli *cli, int argc, char **argv)
{
	struct amend_options o = { .common = COMMON_INIT(cli) };
	int status;
	int first = command_begin(cli, &command_amend, argc, argv, &o, &status);

	if (first == 0)
		return status;
	/* Without a file or a format, it is unknown whose options are meant. */
	if (create_lists_want_help(&o.lists) &&
	    (first < argc || o.format != QCOW2_FORMAT_DEFAULT) &&
	    o.format != QCOW2_FORMAT_RAW) {
		create_print_amend_help(amendable);
		return 0;
	}
	if (o.lists.n == 0) {
		cli_error(cli, NULL, "Must specify options (-o)");
		return 1;
	}
	if (first == argc) {
		cli_error(cli, NULL, "Expecting one image file name");
		return 1;
	}
	return amend_with_lists(cli, &o, argv[first]);
}

const struct command command_amend = {
	.name = "amend",
	.summary = "change the options of an image",
	.operands = "FILE",
	.n_operands_max = 1,
	.options = amend_table,
	.examples = amend_examples,
	.changes = true,
	.failure = 1,
	.run = amend_run,
};
