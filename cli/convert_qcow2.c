/*
 * qcow2 convert -O qcow2: the new image's options and its backing file.
 */
#include "convert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "open.h"

const char *convert_target_option(const struct convert_target *t)
{
	if (t->backing_file)
		return "-B";
	if (t->backing_format)
		return "-F";
	if (t->compress)
		return "-c";
	if (t->level)
		return "--compress-level";
	return t->lists.n ? "-o" : NULL;
}

static int say(const struct cli *cli, const char *option, const char *what)
{
	cli_error(cli, option, "%s", what);
	return 1;
}

void convert_note_size(const struct cli *cli, const struct common *common,
		       const struct create_plan *plan, struct qcow2_image *img)
{
	const struct create_value *size = &plan->values[KEY_SIZE];

	if (size->text && size->number != qcow2_size(img) && cli->as->extras &&
	    !common->quiet)
		cli_error(cli, plan->path,
			  "warning: -o size has no effect: "
			  "the disk has the size of the source, %" PRIu64,
			  qcow2_size(img));
}

static int make_plan(const struct cli *cli, const struct common *common,
		     struct convert_target *t, struct qcow2_image *img,
		     struct create_plan *plan)
{
	struct create_value *file = &plan->values[KEY_BACKING_FILE];
	struct create_value *format = &plan->values[KEY_BACKING_FMT];

	if (create_take_lists(cli, &t->lists, plan) < 0)
		return 1;
	convert_note_size(cli, common, plan, img);
	if ((t->backing_file && file->text) ||
	    (t->backing_format && format->text))
		return say(cli, "-B", "the backing file is given twice");
	if (t->backing_file)
		file->text = t->backing_file;
	if (t->backing_format)
		format->text = t->backing_format;
	create_record_paths(plan, false);
	if (file->text && strcmp(file->text, plan->path) == 0)
		return say(cli, "-B", "the target cannot have itself below it");
	if (file->text && !format->text)
		return say(cli, "-B", "a backing file needs its format: -F");
	create_set_size(plan, qcow2_size(img));
	return 0;
}

/* The target's data file is written too. */
static int check_data_file(const struct cli *cli,
			   const struct convert_sources *s,
			   const struct create_plan *plan)
{
	const char *name = plan->values[KEY_DATA_FILE].text;
	char *path;
	int ret;

	if (!name)
		return 0;
	path = path_beside(plan->path, name);
	if (!path)
		return say(cli, plan->path, "out of memory");
	ret = convert_check_distinct(cli, s, path);
	free(path);
	return ret;
}

int convert_open_backing(const struct cli *cli, const struct common *common,
			 const struct create_plan *plan,
			 struct qcow2_image **out)
{
	const char *name = plan->values[KEY_BACKING_FILE].text;
	const char *format = plan->values[KEY_BACKING_FMT].text;
	struct source src = { .path = NULL };
	char *path;
	int ret;

	*out = NULL;
	if (!name)
		return 0;
	if (!format_by_name(format, &src.format))
		return say(cli, "-F", "unknown format: qcow2 or raw");
	path = path_beside(plan->path, name);
	if (!path)
		return say(cli, plan->path, "out of memory");
	src.path = path;
	ret = source_open(cli, common, &src, out);
	free(path);
	return ret < 0 ? 1 : 0;
}

/* The new target replaces @path, which its backing file must not read. */
static int check_backing(const struct cli *cli, const char *path,
			 struct qcow2_image *backing)
{
	struct stat st;

	if (!backing || stat(path, &st) < 0 || !image_reads_file(backing, &st))
		return 0;
	return say(cli, path, "the backing file reads from this very file");
}

int convert_qcow2(const struct cli *cli, const struct common *common,
		  struct convert_target *t, const struct convert_sources *s,
		  const char *path, struct qcow2_convert_opts *opts,
		  struct qcow2_error *err)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct create_plan plan = { .path = path,
				    .format = QCOW2_FORMAT_QCOW2 };
	int ret = make_plan(cli, common, t, s->whole, &plan);

	if (ret == 0)
		ret = check_data_file(cli, s, &plan);
	if (ret == 0)
		ret = create_fill_opts(cli, &plan, &create) < 0;
	if (ret == 0 && t->compress &&
	    create.preallocation != QCOW2_PREALLOC_OFF)
		ret = say(cli, NULL,
			  "Compression and preallocation not "
			  "supported at the same time");
	if (ret == 0)
		ret = convert_open_backing(cli, common, &plan, &opts->backing);
	if (ret == 0)
		ret = check_backing(cli, path, opts->backing);
	if (ret == 0) {
		if (t->compress)
			opts->flags |= QCOW2_CONVERT_COMPRESS;
		opts->compress_level = (uint32_t)t->level;
		ret = qcow2_convert(s->whole, path, opts, &create, err);
	}
	if (opts->backing)
		qcow2_close(opts->backing, NULL);
	create_lists_release(&t->lists);
	return ret;
}
