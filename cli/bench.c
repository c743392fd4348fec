/*
 * qcow2 bench
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "open.h"
#include "size.h"

static int set_number(const struct option_value *v)
{
	uint64_t *number = v->field;

	if (size_parse(v->arg, number) == 0 && *number <= INT32_MAX)
		return 0;
	cli_error(v->cli, v->name, "'%s' is no number from 0 to %d",
		  ESC(v->arg), INT32_MAX);
	return -1;
}

static int set_aio(const struct option_value *v)
{
	static const char *const names[] = { "native", "threads", "io_uring" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(v->arg, names[i]) == 0) {
			*(const char **)v->field = names[i];
			return 0;
		}
	}
	cli_error(v->cli, v->name, "'%s' is none of native, threads, io_uring",
		  ESC(v->arg));
	return -1;
}

static int set_native(const struct option_value *v)
{
	*(const char **)v->field = "native";
	return 0;
}

#define FIELD(name) offsetof(struct bench_options, name)

static const struct option_spec bench_table[] = {
	{ "count", 'c', "COUNT", set_number, FIELD(n_requests),
	  "make so many requests; the default is 75000, and no limit with "
	  "--time" },
	{ "depth", 'd', "DEPTH", set_number, FIELD(depth),
	  "keep so many requests of each queue under way, 1 to 4095; the "
	  "default is 64" },
	{ "format", 'f', "FMT", set_format, FIELD(format),
	  "format of the image: qcow2, raw or probe" },
	{ "cache", 't', "CACHE", set_cache, FIELD(cache),
	  "how host files are cached: none, writeback (the default), "
	  "writethrough, directsync, unsafe" },
	{ "buffer-size", 's', "SIZE", set_size, FIELD(size_bytes),
	  "bytes of each request; the default is 4k" },
	{ "step-size", 'S', "SIZE", set_size, FIELD(step),
	  "bytes from the beginning of a request to that of the next; the "
	  "default is that of -s" },
	{ "offset", 'o', "OFFSET", set_size, FIELD(offset),
	  "the place of the first request on the disk" },
	{ "write", 'w', NULL, set_flag, FIELD(write),
	  "write, which destroys the data of the disk" },
	{ "pattern", 0, "BYTE", set_number, FIELD(pattern),
	  "write this byte, 0 to 255" },
	{ "flush-interval", 0, "N", set_number, FIELD(flush_interval),
	  "flush after so many requests of a queue, when all of them are "
	  "done" },
	{ "no-drain", 0, NULL, set_flag, FIELD(no_drain),
	  "do not wait for requests before a flush, nor for the flush" },
	{ "aio", 'i', "AIO", set_aio, FIELD(aio),
	  "threads: workers alone; io_uring: fail if the host has none; "
	  "native: io_uring if the host has it, as without this option" },
	{ "native", 'n', NULL, set_native, FIELD(aio),
	  "the same as -i native" },
	{ "random", 0, NULL, set_flag, FIELD(random),
	  "make requests at random places that -o and -S allow" },
	{ "read-percent", 0, "N", set_number, FIELD(read_percent),
	  "read in so many of 100 requests, and write in the others" },
	{ "time", 0, "SECONDS", set_number, FIELD(seconds),
	  "begin no request after so many seconds" },
	{ "queues", 0, "N", set_number, FIELD(n_queues),
	  "use so many queues, each with a thread of its own, 1 to 64" },
	{ "workers", 0, "N", set_number, FIELD(n_workers),
	  "threads that do what has to wait, for all queues together, 0 to "
	  "256; the default is 4" },
	{ "no-ring", 0, NULL, set_flag, FIELD(no_ring),
	  "do not use io_uring; the same as -i threads" },
	{ "sqpoll", 0, NULL, set_flag, FIELD(sqpoll),
	  "let a thread of the kernel look for requests" },
	OPTION_OUTPUT,
	OPTION_QUIET,
	OPTION_FORCE_SHARE,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_TRUST_REFCOUNTS,
	OPTION_BACKING_FORMAT,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example bench_examples[] = {
	{ "bench --random --time 10 disk.qcow2",
	  "how many random reads of 4 KiB can be made in a second?" },
	{ "bench -w -t none -d 32 --read-percent 70 scratch.qcow2",
	  "a load of reads and writes, which destroys the data" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* The options                                                               */

static const struct limit {
	const char *name;
	size_t field;
	uint64_t min, max;
} limits[] = {
	{ "--depth", FIELD(depth), 1, 4095 },
	{ "--buffer-size", FIELD(size_bytes), 1, INT32_MAX },
	{ "--step-size", FIELD(step), 0, INT32_MAX },
	{ "--pattern", FIELD(pattern), 0, 255 },
	{ "--queues", FIELD(n_queues), 1, BENCH_QUEUES_MAX },
	{ "--workers", FIELD(n_workers), 0, 256 },
};

static int check_limits(const struct cli *cli, const struct bench_options *o)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const struct limit *l = &limits[i];
		uint64_t value =
			*(const uint64_t *)((const char *)o + l->field);

		if (value >= l->min && value <= l->max)
			continue;
		cli_error(cli, l->name,
			  "%" PRIu64 " is not from %" PRIu64 " to %" PRIu64,
			  value, l->min, l->max);
		return -1;
	}
	return 0;
}

static bool writes(const struct bench_options *o)
{
	return o->read_percent == BENCH_NOT_SAID ? o->write
						 : o->read_percent < 100;
}

static const char *contradiction(const struct bench_options *o)
{
	if (o->read_percent != BENCH_NOT_SAID && o->read_percent > 100)
		return "--read-percent is more than 100";
	if (writes(o) && !o->write)
		return "--read-percent below 100 writes: say -w";
	if (o->flush_interval && !o->write)
		return "--flush-interval is only available in write tests";
	if (o->flush_interval && o->flush_interval < o->depth)
		return "Flush interval can't be smaller than depth";
	if (o->no_ring &&
	    (o->sqpoll || (o->aio && strcmp(o->aio, "io_uring") == 0)))
		return "--sqpoll and -i io_uring need the ring";
	if (o->write && o->common.force_share)
		return "-U is for reading only";
	return NULL;
}

static int check_options(const struct cli *cli, struct bench_options *o)
{
	const char *wrong;

	if (o->aio && strcmp(o->aio, "threads") == 0)
		o->no_ring = true;
	if (!o->step)
		o->step = o->size_bytes;
	if (o->n_requests == BENCH_NOT_SAID)
		o->n_requests = o->seconds ? UINT64_MAX : 75000;
	if (check_limits(cli, o) < 0)
		return -1;
	wrong = contradiction(o);
	if (wrong)
		cli_error(cli, NULL, "%s", wrong);
	return wrong ? -1 : 0;
}

/* ------------------------------------------------------------------------- */

/* These are qemu-img's words. */
static void print_plan(const struct bench_options *o)
{
	if (o->n_requests == UINT64_MAX)
		printf("Sending %s requests for %" PRIu64 " seconds",
		       o->write ? "write" : "read", o->seconds);
	else
		printf("Sending %" PRIu64 " %s requests", o->n_requests,
		       o->write ? "write" : "read");
	printf(", %" PRIu64 " bytes each, %" PRIu64
	       " in parallel (starting at offset %" PRIu64
	       ", step size %" PRIu64 ")\n",
	       o->size_bytes, o->depth, o->offset, o->step);
	if (o->flush_interval)
		printf("Sending flush every %" PRIu64 " requests\n",
		       o->flush_interval);
	fflush(stdout);
}

static int bench(const struct cli *cli, const struct bench_options *o,
		 const char *path, struct qcow2_image *img)
{
	bool plain = o->common.output == OUTPUT_HUMAN &&
		     !(o->common.quiet && cli->as->extras);
	static struct bench_result result;
	struct qcow2_error err;

	if (o->size_bytes > qcow2_size(img) ||
	    o->offset > qcow2_size(img) - o->size_bytes) {
		cli_error(cli, path, "the first request ends past the disk");
		return -1;
	}
	if (plain)
		print_plan(o);
	if (bench_load(o, img, &result, &err) < 0) {
		cli_report(cli, path, &err);
		return -1;
	}
	if (plain)
		printf("Run completed in %.3f seconds.\n",
		       (double)result.wall_ns / 1e9);
	if (plain && cli->as->extras)
		bench_print_numbers(o, &result);
	if (o->common.output == OUTPUT_JSON)
		bench_print_json(o, &result);
	return 0;
}

static uint32_t open_flags(const struct bench_options *o)
{
	const struct cache_mode *c = o->cache;

	return (o->write ? QCOW2_OPEN_RDWR : 0) |
	       (c && c->direct ? QCOW2_OPEN_DIRECT : 0) |
	       (c && c->no_sync ? QCOW2_OPEN_NO_FLUSH : 0);
}

static int bench_image(const struct cli *cli, const struct bench_options *o,
		       const char *path)
{
	struct source src = { path, o->format, open_flags(o), NULL };
	struct qcow2_image *img;
	int ret;

	if (o->write && source_probe_format(cli, &o->common, &src) < 0)
		return 1;
	if (!o->write && src.format == QCOW2_FORMAT_DEFAULT)
		src.format = QCOW2_FORMAT_PROBE;
	if (source_open(cli, &o->common, &src, &img) < 0)
		return 1;
	if (o->write)
		image_warn_bitmaps(cli, path, img);
	ret = bench(cli, o, path, img);
	return source_close(cli, path, img, ret) < 0;
}

static int bench_run(const struct cli *cli, int argc, char **argv)
{
	struct bench_options o = {
		.common = COMMON_INIT(cli),
		.n_requests = BENCH_NOT_SAID,
		.depth = 64,
		.size_bytes = 4096,
		.read_percent = BENCH_NOT_SAID,
		.n_queues = 1,
		.n_workers = 4,
	};
	int status;
	int first = command_begin(cli, &command_bench, argc, argv, &o, &status);

	if (first == 0)
		return status;
	if (first == argc) {
		cli_error(cli, NULL, "Expecting one image file name");
		return 1;
	}
	if (check_options(cli, &o) < 0)
		return 1;
	return bench_image(cli, &o, argv[first]);
}

const struct command command_bench = {
	.name = "bench",
	.summary = "measure the speed of requests to an image",
	.operands = "FILE",
	.n_operands_max = 1,
	.options = bench_table,
	.examples = bench_examples,
	.changes = true,
	.failure = 1,
	.run = bench_run,
};
