/*
 * qcow2 compact
 */
#include <inttypes.h>
#include <stdio.h>

#include "command.h"
#include "json.h"
#include "open.h"
#include "progress.h"

struct compact_options {
	struct common common;
	enum qcow2_format format; /* DEFAULT: not said */
	bool dry_run;
	bool zeros;
	bool compress;
	uint64_t level; /* 0: not said */
};

static const struct option_spec compact_table[] = {
	{ "dry-run", 'n', NULL, set_flag,
	  offsetof(struct compact_options, dry_run),
	  "change nothing; say how much space could be given back" },
	{ "zeros", 0, NULL, set_flag, offsetof(struct compact_options, zeros),
	  "also turn clusters of zeros into zero clusters" },
	{ "compress", 'c', NULL, set_flag,
	  offsetof(struct compact_options, compress),
	  "also compress the data of the disk that no snapshot has" },
	{ "compress-level", 0, "N", set_compress_level,
	  offsetof(struct compact_options, level),
	  "how hard to compress, as in convert" },
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct compact_options, format),
	  "format of the image: qcow2" },
	OPTION_OUTPUT,
	OPTION_PROGRESS,
	OPTION_JSON_PROGRESS,
	OPTION_QUIET,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_TRUST_REFCOUNTS,
	OPTION_BACKING_FORMAT,
	OPTION_HELP,
	OPTION_END,
};

static const struct example compact_examples[] = {
	{ "compact --dry-run disk.qcow2",
	  "how much space would be given back?" },
	{ "compact --zeros disk.qcow2",
	  "make the file as small as the disk in it" },
	{ NULL, NULL },
};

static void print_json(const struct qcow2_compact_result *r, bool dry_run)
{
	struct json j;

	json_init(&j, stdout, JSON_PRETTY);
	json_object(&j, NULL);
	json_bool(&j, "dry-run", dry_run);
	json_u64(&j, "clusters", r->clusters_total);
	json_u64(&j, "clusters-movable", r->clusters_movable);
	json_u64(&j, "clusters-moved", r->clusters_moved);
	json_u64(&j, "clusters-zeroed", r->clusters_zeroed);
	json_u64(&j, "clusters-compressed", r->clusters_compressed);
	json_u64(&j, "clusters-leaked", r->clusters_leaked);
	json_u64(&j, "file-size-before", r->file_size_before);
	json_u64(&j, "file-size-after", r->file_size_after);
	json_end(&j);
	putchar('\n');
}

static void print_human(const struct qcow2_compact_result *r, bool dry_run)
{
	uint64_t n = dry_run ? r->clusters_movable : r->clusters_moved;

	printf("%s %" PRIu64 " of %" PRIu64 " clusters\n",
	       dry_run ? "Would move" : "Moved", n, r->clusters_total);
	if (r->clusters_zeroed)
		printf("Made %" PRIu64 " clusters zero\n", r->clusters_zeroed);
	if (r->clusters_compressed)
		printf("Compressed %" PRIu64 " clusters\n",
		       r->clusters_compressed);
	printf("File size: %" PRIu64 ", %s %" PRIu64 "\n", r->file_size_before,
	       dry_run ? "would be about" : "now", r->file_size_after);
}

static uint32_t flags_of(const struct compact_options *o)
{
	return (o->dry_run ? QCOW2_COMPACT_DRY_RUN : 0) |
	       (o->zeros ? QCOW2_COMPACT_ZEROS : 0) |
	       (o->compress ? QCOW2_COMPACT_COMPRESS : 0);
}

static int compact(const struct cli *cli, const struct compact_options *o,
		   const char *path, struct qcow2_image *img,
		   struct qcow2_compact_result *result)
{
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct progress progress;
	struct qcow2_error err;
	int ret;

	progress_begin(&progress, cli, &o->common, "compact");
	opts.flags = flags_of(o);
	opts.compress_level = (uint32_t)o->level;
	opts.progress = progress_update;
	opts.opaque = &progress;
	ret = qcow2_compact(img, &opts, result, &err);
	progress_end(&progress, ret < 0 ? err.message : NULL);
	if (ret < 0)
		cli_report(cli, path, &err);
	return ret < 0 ? -1 : 0;
}

static int compact_image(const struct cli *cli, const struct compact_options *o,
			 const char *path)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct source src = { path, o->format, o->dry_run ? 0 : QCOW2_OPEN_RDWR,
			      NULL };
	struct qcow2_image *img;
	int ret;

	if (source_probe_format(cli, &o->common, &src) < 0 ||
	    source_open(cli, &o->common, &src, &img) < 0)
		return 1;
	ret = compact(cli, o, path, img, &result);
	if (source_close(cli, path, img, ret) < 0)
		return 1;
	if (result.clusters_leaked && !o->common.quiet)
		cli_hint(cli,
			 "%" PRIu64 " leaked clusters stay where they "
			 "are; 'check -r leaks' gives them back",
			 result.clusters_leaked);
	if (o->common.output == OUTPUT_JSON)
		print_json(&result, o->dry_run);
	else if (!o->common.quiet)
		print_human(&result, o->dry_run);
	return 0;
}

static int compact_run(const struct cli *cli, int argc, char **argv)
{
	struct compact_options o = { .common = COMMON_INIT(cli) };
	int status;
	int first =
		command_begin(cli, &command_compact, argc, argv, &o, &status);

	if (first == 0)
		return status;
	if (first == argc) {
		cli_error(cli, NULL, "Expecting one image file name");
		return 1;
	}
	return compact_image(cli, &o, argv[first]);
}

const struct command command_compact = {
	.name = "compact",
	.summary = "make an image file smaller in place",
	.operands = "FILE",
	.n_operands_max = 1,
	.options = compact_table,
	.examples = compact_examples,
	.changes = true,
	.failure = 1,
	.run = compact_run,
};
