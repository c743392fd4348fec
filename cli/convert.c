/*
 * qcow2 convert
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "convert.h"
#include "json.h"
#include "placing.h"
#include "progress.h"

#define SPARSE_MAX (16 << 20)
#define THREADS_MAX 256

struct convert_options {
	struct common common;
	enum qcow2_format format;
	const char *output_format;
	const char *snapshot;
	const struct cache_mode *cache;
	const struct cache_mode *source_cache;
	uint64_t sparse_bytes;
	uint64_t n_threads;
	uint64_t rate;
	int n_sources;
	bool existing_target;
	bool target_is_zero;
	struct placing placing;
	struct convert_target target; /* of qcow2 */
};

static const struct option_spec convert_table[] = {
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct convert_options, format),
	  "format of the source: qcow2, raw, or probe (the default)" },
	{ "output-format", 'O', "FMT", set_text,
	  offsetof(struct convert_options, output_format),
	  "format of the target: raw, the default, or qcow2" },
	{ "snapshot", 'l', "SNAPSHOT", set_text,
	  offsetof(struct convert_options, snapshot),
	  "convert this internal snapshot: its id, else its name, or "
	  "snapshot.id=ID, snapshot.name=NAME, or both with a comma" },
	{ "sparse-size", 'S', "SIZE", set_size,
	  offsetof(struct convert_options, sparse_bytes),
	  "zeros of at least this length become holes: a multiple of 512 "
	  "up to 16M, 4k by default; 0 writes everything" },
	{ "threads", 'm', "N", set_size,
	  offsetof(struct convert_options, n_threads),
	  "read and write up to N pieces at a time; threads beyond one per "
	  "processor work while others wait for a device" },
	{ "cache", 't', "CACHE", set_cache,
	  offsetof(struct convert_options, cache),
	  "how the target is written: none and directsync go around the page "
	  "cache; unsafe does not flush at the end; writeback, the default, "
	  "and writethrough do" },
	{ "source-cache", 'T', "CACHE", set_cache,
	  offsetof(struct convert_options, source_cache),
	  "how the source is read: none and directsync go around the page "
	  "cache" },
	{ "no-create", 'n', NULL, set_flag,
	  offsetof(struct convert_options, existing_target),
	  "write into a target that is there already and large enough" },
	{ "target-is-zero", 0, NULL, set_flag,
	  offsetof(struct convert_options, target_is_zero),
	  "with -n: the target reads as zeros, so none need be written" },
	OPTION_IN_PLACE(struct convert_options, placing),
	OPTION_REPLACE(struct convert_options, placing),
	{ "rate-limit", 'r', "RATE", set_size,
	  offsetof(struct convert_options, rate),
	  "go no faster than this many bytes a second" },
	{ "copy-offload", 'C', NULL, set_nothing, 0,
	  "accepted for scripts; blocks are shared unasked if they can be" },
	{ "out-of-order", 'W', NULL, set_nothing, 0,
	  "accepted for scripts; changes nothing" },
	OPTION_PROGRESS,
	OPTION_JSON_PROGRESS,
	OPTION_QUIET,
	OPTION_FORCE_SHARE,
	OPTION_OUTPUT,
	OPTION_BACKING_FORMAT,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_TRUST_REFCOUNTS,
	OPTION_HELP,
	{ "options", 'o', "KEY=VALUE,...", create_add_list,
	  offsetof(struct convert_options, target.lists),
	  "properties of a qcow2 target, as in create; 'help' lists them" },
	{ "compress", 'c', NULL, set_flag,
	  offsetof(struct convert_options, target.compress),
	  "compress the clusters of a qcow2 target" },
	{ "compress-level", 0, "N", set_compress_level,
	  offsetof(struct convert_options, target.level),
	  "how hard to compress: 1 to 9 with zlib, 1 to 19 with zstd; fast, "
	  "fast2 or fast3 for zlib clusters made in a fraction of the time" },
	{ "backing-file", 'B', "FILE", set_text,
	  offsetof(struct convert_options, target.backing_file),
	  "put a qcow2 target over this file and leave out what the source "
	  "takes from it; a relative name counts from the target's "
	  "directory" },
	{ "target-backing-file", 'b', "FILE", set_text,
	  offsetof(struct convert_options, target.backing_file),
	  "the same as -B" },
	{ "target-backing-format", 'F', "FMT", set_text,
	  offsetof(struct convert_options, target.backing_format),
	  "format of that backing file" },
	OPTION_REFUSED("bitmaps", 0, NULL),
	OPTION_REFUSED("salvage", 0, NULL),
	OPTION_REFUSED("target-image-opts", 0, NULL),
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example convert_examples[] = {
	{ "convert -O raw disk.qcow2 disk.raw",
	  "the whole disk, with its backing files, as a raw file" },
	{ "convert -O raw -l before-upgrade disk.qcow2 disk.raw",
	  "as it was at a snapshot" },
	{ "convert -O qcow2 -c -o compression_type=zstd disk.raw disk.qcow2",
	  "as a compressed image" },
	{ "convert -O raw --json-progress 3 disk.qcow2 disk.raw 3>progress",
	  "with progress for a program" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* Options that need more than their own value to be judged                  */

static int check_output_format(const struct cli *cli, const char *name)
{
	if (strcmp(name, "raw") == 0 || strcmp(name, "qcow2") == 0)
		return 0;
	cli_error(cli, "-O",
		  "format '%s' is not supported: this version "
		  "writes raw and qcow2",
		  ESC(name));
	return -1;
}

static bool is_to_qcow2(const struct convert_options *o)
{
	return strcmp(o->output_format, "qcow2") == 0;
}

static int check_target(const struct cli *cli, const struct convert_options *o)
{
	const char *option = convert_target_option(&o->target);

	if (!is_to_qcow2(o) && option && strcmp(option, "-o") != 0) {
		cli_error(cli, option,
			  "raw files do not have that; say -O qcow2");
		return -1;
	}
	if (o->existing_target && o->target.lists.n) {
		cli_error(cli, "-o", "with -n the target keeps its properties");
		return -1;
	}
	if (o->existing_target && (o->placing.in_place || o->placing.replace)) {
		cli_error(cli, o->placing.replace ? "--replace" : "--in-place",
			  "with -n the target is written in place");
		return -1;
	}
	if (o->target_is_zero && !o->existing_target) {
		cli_error(cli, "--target-is-zero", "this needs -n");
		return -1;
	}
	if (o->n_sources > 1 && (o->target.backing_file || o->snapshot)) {
		cli_error(cli, o->snapshot ? "-l" : "-B",
			  "this goes with one source only");
		return -1;
	}
	return 0;
}

static int check_sparse(const struct cli *cli, struct convert_options *o)
{
	if (o->sparse_bytes == 0) {
		o->sparse_bytes = QCOW2_CONVERT_NOT_SPARSE;
		return 0;
	}
	if (o->sparse_bytes % 512 == 0 && o->sparse_bytes <= SPARSE_MAX)
		return 0;
	cli_error(cli, "-S",
		  "the size must be 0 or a multiple of 512 up to "
		  "%d",
		  SPARSE_MAX);
	return -1;
}

static int check_threads(const struct cli *cli, uint64_t n)
{
	if (n >= 1 && n <= THREADS_MAX)
		return 0;
	cli_error(cli, "-m", "the number of threads must be between 1 and %d",
		  THREADS_MAX);
	return -1;
}

static int check_options(const struct cli *cli, struct convert_options *o)
{
	if (check_output_format(cli, o->output_format) < 0)
		return -1;
	if (placing_check(cli, &o->placing) < 0 || check_target(cli, o) < 0 ||
	    check_sparse(cli, o) < 0)
		return -1;
	/* 0 stands for the default, which nobody can ask for by number. */
	if (o->n_threads != UINT64_MAX && check_threads(cli, o->n_threads) < 0)
		return -1;
	return 0;
}

/* ------------------------------------------------------------------------- */

static void print_json(const struct convert_options *o, struct qcow2_image *img,
		       char **paths)
{
	struct json j;

	json_init(&j, stdout, JSON_PRETTY);
	json_object(&j, NULL);
	if (o->n_sources == 1)
		json_string(&j, "source", paths[0]);
	else
		json_list(&j, "sources");
	for (int i = 0; o->n_sources > 1 && i < o->n_sources; i++)
		json_string(&j, NULL, paths[i]);
	if (o->n_sources > 1)
		json_end(&j);
	json_string(&j, "filename", paths[o->n_sources]);
	json_string(&j, "format", o->output_format);
	json_u64(&j, "virtual-size", qcow2_size(img));
	placing_json(&j, &o->placing);
	json_end(&j);
}

static void fill_opts(struct qcow2_convert_opts *opts,
		      struct convert_options *o)
{
	if (o->n_threads != UINT64_MAX)
		opts->n_threads = (uint32_t)o->n_threads;
	opts->sparse_bytes = o->sparse_bytes;
	opts->bytes_per_sec = o->rate;
	placing_fill(&o->placing, opts);
	if (o->cache && o->cache->no_sync)
		opts->flags |= QCOW2_CONVERT_NO_SYNC;
	if (o->cache && o->cache->direct)
		opts->flags |= QCOW2_CONVERT_DIRECT;
}

/* Ends as the signal would have ended the program, so that a shell knows. */
static int end_by_signal(const struct cli *cli, const struct placing *p,
			 const char *target)
{
	int sig = progress_signal();

	cli_error(cli, target, "interrupted; %s",
		  p->where.how == QCOW2_PLACED_IN_PLACE
			  ? "part of the target has been written"
			  : "the target is as it was");
	signal(sig, SIG_DFL);
	raise(sig);
	return 1;
}

/* Takes the only option of raw targets that counts: the others are the source's
 * or have no effect. */
static int take_raw_lists(const struct cli *cli, struct convert_options *o,
			  const struct convert_sources *s, const char *target,
			  struct qcow2_convert_opts *opts)
{
	struct create_plan plan = { .path = target,
				    .format = QCOW2_FORMAT_RAW };
	int ret = create_take_lists(cli, &o->target.lists, &plan);

	if (ret == 0)
		convert_note_size(cli, &o->common, &plan, s->whole);
	if (ret == 0)
		ret = create_raw_preallocation(cli, &plan,
					       &opts->preallocation);
	create_lists_release(&o->target.lists);
	return ret < 0;
}

static int convert_to(const struct cli *cli, struct convert_options *o,
		      const struct convert_sources *s, const char *target,
		      struct qcow2_convert_opts *opts, struct qcow2_error *err)
{
	struct convert_existing e = {
		.path = target,
		.format = is_to_qcow2(o) ? QCOW2_FORMAT_QCOW2
					 : QCOW2_FORMAT_RAW,
		.is_zero = o->target_is_zero,
	};

	if (o->existing_target) {
		o->placing.where.how = QCOW2_PLACED_IN_PLACE;
		o->placing.where.reason = QCOW2_IN_PLACE_ASKED;
	}
	if (o->existing_target)
		return convert_existing(cli, &o->common, &o->target, &e,
					s->whole, opts, err);
	if (is_to_qcow2(o))
		return convert_qcow2(cli, &o->common, &o->target, s, target,
				     opts, err);
	if (take_raw_lists(cli, o, s, target, opts))
		return 1;
	return qcow2_convert_raw(s->whole, target, opts, err);
}

static int convert_image(const struct cli *cli, struct convert_options *o,
			 const struct convert_sources *s)
{
	struct qcow2_convert_opts opts = QCOW2_CONVERT_OPTS_INIT;
	const char *target = s->paths[s->n];
	struct progress progress;
	struct qcow2_error err;
	int ret;

	fill_opts(&opts, o);
	opts.progress = progress_update;
	opts.opaque = &progress;
	progress_cancel_on_signals();
	progress_begin(&progress, cli, &o->common, "convert");
	ret = convert_to(cli, o, s, target, &opts, &err);
	progress_end(&progress, ret < 0 ? err.message
				: ret   ? "bad options"
					: NULL);
	if (ret > 0)
		return 1;
	if (ret == -ECANCELED && progress_signal())
		return end_by_signal(cli, &o->placing, target);
	if (ret < 0) {
		/* Only a source can break a rule of the format. */
		cli_report(cli, err.defect ? s->paths[0] : target, &err);
		if (!o->existing_target)
			placing_note_failure(cli, &o->placing);
		return 1;
	}
	placing_note(cli, &o->common, &o->placing, target);
	if (o->common.output == OUTPUT_JSON)
		print_json(o, s->whole, s->paths);
	return 0;
}

/* Opens the sources, perhaps puts them together, and converts them. */
static int convert_files(const struct cli *cli, struct convert_options *o,
			 char **paths)
{
	struct convert_sources s = { .paths = paths,
				     .n = o->n_sources,
				     .format = o->format,
				     .snapshot = o->snapshot };
	int ret;

	if (o->source_cache && o->source_cache->direct)
		s.flags |= QCOW2_OPEN_DIRECT;
	ret = convert_sources_open(cli, &o->common, &s, paths[s.n]);
	if (ret == 0)
		ret = convert_image(cli, o, &s);
	convert_sources_close(&s);
	return ret;
}

static int convert_run(const struct cli *cli, int argc, char **argv)
{
	struct convert_options o = {
		.common = COMMON_INIT(cli),
		.format = QCOW2_FORMAT_PROBE,
		.output_format = "raw",
		.sparse_bytes = 4096,
		.n_threads = UINT64_MAX,
		.placing.where = QCOW2_PLACEMENT_INIT,
	};
	int status;
	int first =
		command_begin(cli, &command_convert, argc, argv, &o, &status);

	if (first == 0)
		return status;
	if (create_lists_want_help(&o.target.lists)) {
		if (check_output_format(cli, o.output_format) < 0)
			return 1;
		create_print_help(is_to_qcow2(&o) ? QCOW2_FORMAT_QCOW2
						  : QCOW2_FORMAT_RAW);
		return 0;
	}
	if (argc - first < 2) {
		cli_error(cli, "convert", "missing operand: expected %s",
			  command_convert.operands);
		return 1;
	}
	o.n_sources = argc - first - 1;
	if (check_options(cli, &o) < 0)
		return 1;
	return convert_files(cli, &o, argv + first);
}

const struct command command_convert = {
	.name = "convert",
	.summary = "write the disk in an image to a raw file or a qcow2 image",
	.operands = "SOURCE... TARGET",
	.n_operands_min = 0, /* "-o help" needs none */
	.n_operands_max = INT32_MAX,
	.options = convert_table,
	.examples = convert_examples,
	.changes = true,
	.failure = 1,
	.run = convert_run,
};
