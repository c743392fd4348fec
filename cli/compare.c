/*
 * qcow2 compare
 */
#include <inttypes.h>
#include <stdio.h>

#include "command.h"
#include "json.h"
#include "open.h"
#include "progress.h"

/* Scripts tell the results of compare apart by these. */
enum compare_status {
	COMPARE_IDENTICAL = 0,
	COMPARE_DIFFERENT = 1,
	COMPARE_CANNOT_OPEN = 2, /* and every wrong call */
	COMPARE_BAD_METADATA = 3,
	COMPARE_CANNOT_READ = 4,
};

struct compare_options {
	struct common common;
	enum qcow2_format formats[2];
	const struct cache_mode *cache;
	bool strict;
};

static const struct option_spec compare_table[] = {
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct compare_options, formats[0]),
	  "format of the first image: qcow2, raw, or probe (the default)" },
	{ "second-format", 'F', "FMT", set_format,
	  offsetof(struct compare_options, formats[1]),
	  "format of the second image" },
	{ "strict", 's', NULL, set_flag,
	  offsetof(struct compare_options, strict),
	  "sizes and allocation must agree too" },
	{ "source-cache", 'T', "CACHE", set_cache,
	  offsetof(struct compare_options, cache),
	  "how images are read: none and directsync go around the page "
	  "cache; writeback, writethrough and unsafe do not" },
	OPTION_PROGRESS,
	OPTION_JSON_PROGRESS,
	OPTION_QUIET,
	OPTION_FORCE_SHARE,
	OPTION_OUTPUT,
	OPTION_BACKING_FORMAT,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example compare_examples[] = {
	{ "compare disk.qcow2 disk.raw", "do both hold the same disk?" },
	{ "compare -s old.qcow2 new.qcow2",
	  "and is the same allocated in both?" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* The answer                                                                */

static void print_json(const struct qcow2_compare_result *r)
{
	static const char *const names[] = {
		[QCOW2_DIFFERENT_CONTENT] = "content",
		[QCOW2_DIFFERENT_SIZE] = "size",
		[QCOW2_DIFFERENT_ALLOCATION] = "allocation",
	};
	struct json j;

	json_init(&j, stdout, JSON_PRETTY);
	json_object(&j, NULL);
	json_bool(&j, "identical", r->difference == QCOW2_IDENTICAL);
	json_bool(&j, "sizes-differ", r->sizes_differ);
	if (r->difference != QCOW2_IDENTICAL)
		json_string(&j, "difference", names[r->difference]);
	if (r->difference == QCOW2_DIFFERENT_CONTENT ||
	    r->difference == QCOW2_DIFFERENT_ALLOCATION)
		json_u64(&j, "offset", r->offset);
	json_end(&j);
}

/* @shorter: the size of the smaller image; a difference before it says
 * nothing about sizes. */
static void print_text(const struct qcow2_compare_result *r, uint64_t shorter,
		       bool strict)
{
	bool past_end = r->difference == QCOW2_IDENTICAL ||
			r->offset >= shorter;

	if (r->sizes_differ && !strict && past_end)
		printf("Warning: Image size mismatch!\n");
	switch (r->difference) {
	case QCOW2_IDENTICAL:
		printf("Images are identical.\n");
		break;
	case QCOW2_DIFFERENT_CONTENT:
		printf("Content mismatch at offset %" PRIu64 "!\n", r->offset);
		break;
	case QCOW2_DIFFERENT_SIZE:
		printf("Strict mode: Image size mismatch!\n");
		break;
	case QCOW2_DIFFERENT_ALLOCATION:
		printf("Strict mode: Offset %" PRIu64
		       " block status mismatch!\n",
		       r->offset);
		break;
	}
}

static void print_answer(const struct compare_options *o,
			 const struct qcow2_compare_result *r, uint64_t shorter)
{
	if (o->common.output == OUTPUT_JSON)
		print_json(r);
	else if (!o->common.quiet)
		print_text(r, shorter, o->strict);
}

/* ------------------------------------------------------------------------- */

static int failure(const struct cli *cli, char **paths,
		   const struct qcow2_compare_result *r,
		   const struct qcow2_error *err)
{
	cli_report(cli, r->failed_image ? paths[r->failed_image - 1] : NULL,
		   err);
	return err->defect ? COMPARE_BAD_METADATA : COMPARE_CANNOT_READ;
}

static int compare_images(const struct cli *cli,
			  const struct compare_options *o,
			  struct qcow2_image *const images[2], char **paths)
{
	struct qcow2_compare_opts opts = QCOW2_COMPARE_OPTS_INIT;
	struct qcow2_compare_result r = { .struct_size = sizeof(r) };
	uint64_t size0 = qcow2_size(images[0]), size1 = qcow2_size(images[1]);
	struct qcow2_error err;
	struct progress progress;
	int ret;

	opts.flags = o->strict ? QCOW2_COMPARE_STRICT : 0;
	opts.progress = progress_update;
	opts.opaque = &progress;
	progress_begin(&progress, cli, &o->common, "compare");
	ret = qcow2_compare(images[0], images[1], &opts, &r, &err);
	progress_end(&progress, ret < 0 ? err.message : NULL);
	if (ret < 0)
		return failure(cli, paths, &r, &err);
	print_answer(o, &r, size0 < size1 ? size0 : size1);
	return r.difference == QCOW2_IDENTICAL ? COMPARE_IDENTICAL
					       : COMPARE_DIFFERENT;
}

static int open_one(const struct cli *cli, const struct compare_options *o,
		    char **paths, int i, struct qcow2_image **out)
{
	struct source src = { paths[i], o->formats[i], 0, NULL };

	if (o->cache && o->cache->direct)
		src.flags |= QCOW2_OPEN_DIRECT;
	return source_open(cli, &o->common, &src, out);
}

static int compare_files(const struct cli *cli, const struct compare_options *o,
			 char **paths)
{
	struct qcow2_image *images[2];
	int status;

	if (open_one(cli, o, paths, 0, &images[0]) < 0)
		return COMPARE_CANNOT_OPEN;
	if (open_one(cli, o, paths, 1, &images[1]) < 0) {
		qcow2_close(images[0], NULL);
		return COMPARE_CANNOT_OPEN;
	}
	status = compare_images(cli, o, images, paths);
	qcow2_close(images[0], NULL);
	qcow2_close(images[1], NULL);
	return status;
}

static int compare_run(const struct cli *cli, int argc, char **argv)
{
	struct compare_options o = {
		.common = COMMON_INIT(cli),
		.formats = { QCOW2_FORMAT_PROBE, QCOW2_FORMAT_PROBE },
	};
	int status;
	int first =
		command_begin(cli, &command_compare, argc, argv, &o, &status);

	return first ? compare_files(cli, &o, argv + first) : status;
}

const struct command command_compare = {
	.name = "compare",
	.summary = "tell whether two images hold the same disk",
	.operands = "FILE1 FILE2",
	.n_operands_min = 2,
	.n_operands_max = 2,
	.options = compare_table,
	.examples = compare_examples,
	.exit_status = "  0  the disks are identical\n"
		       "  1  they differ\n"
		       "  2  an image cannot be opened, or the call is wrong\n"
		       "  3  the metadata of an image is damaged\n"
		       "  4  data cannot be read\n",
	.failure = COMPARE_CANNOT_OPEN,
	.run = compare_run,
};
