/*
 * qcow2 map
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "open.h"

struct map_options {
	struct common common;
	enum qcow2_format format;
	uint64_t start;
	uint64_t max_len;
};

static const struct option_spec map_table[] = {
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct map_options, format),
	  "format of the image: qcow2, raw, or probe (the default)" },
	{ "start-offset", 's', "OFFSET", set_size,
	  offsetof(struct map_options, start), "begin here instead of at 0" },
	{ "max-length", 'l', "LEN", set_size,
	  offsetof(struct map_options, max_len), "map no more than this" },
	OPTION_FORCE_SHARE,
	OPTION_OUTPUT,
	OPTION_BACKING_FORMAT,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example map_examples[] = {
	{ "map --output json disk.qcow2",
	  "where all data is, through the whole backing chain" },
	{ "map -s 1G -l 64M disk.raw", "a part of it, data only" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* Printing                                                                  */

/* Neighbours that differ in these are printed apart. */
#define SHOWN_FLAGS                                                     \
	(QCOW2_EXTENT_DATA | QCOW2_EXTENT_ZERO | QCOW2_EXTENT_PRESENT | \
	 QCOW2_EXTENT_HOST_OFF)

struct map_printer {
	const struct cli *cli;
	struct qcow2_image *img;
	const char *path;
	bool json;
	bool first;
	struct qcow2_extent pending; /* may still grow */
};

/*
 * A disk can have millions of extents, and printf would take longer than
 * finding them; so their lines are put together by hand.
 */
struct line {
	char text[320]; /* six numbers of 20 digits and the words between */
	size_t len;
};

static void line_text(struct line *l, const char *text)
{
	size_t n = strlen(text);

	memcpy(l->text + l->len, text, n);
	l->len += n;
}

static void line_number(struct line *l, const char *before, uint64_t value)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	line_text(l, before);
	memcpy(l->text + l->len, digits + n, sizeof(digits) - n);
	l->len += sizeof(digits) - n;
}

static void line_truth(struct line *l, const char *before, bool value)
{
	line_text(l, before);
	line_text(l, value ? "true" : "false");
}

static void print_json(struct map_printer *p, const struct qcow2_extent *e)
{
	struct line l = { .len = 0 };

	line_text(&l, p->first ? "[" : ",\n");
	line_number(&l, "{ \"start\": ", e->off);
	line_number(&l, ", \"length\": ", e->len);
	line_number(&l, ", \"depth\": ", e->depth);
	line_truth(&l, ", \"present\": ", e->flags & QCOW2_EXTENT_PRESENT);
	line_truth(&l, ", \"zero\": ", e->flags & QCOW2_EXTENT_ZERO);
	line_truth(&l, ", \"data\": ", e->flags & QCOW2_EXTENT_DATA);
	if (e->flags & QCOW2_EXTENT_HOST_OFF)
		line_number(&l, ", \"offset\": ", e->host_off);
	line_text(&l, "}");
	fwrite(l.text, 1, l.len, stdout);
	p->first = false;
}

/* Returns the file that holds the bytes of @e. */
static const char *extent_file(struct map_printer *p,
			       const struct qcow2_extent *e)
{
	const char *data = qcow2_layer_data_filename(p->img, e->depth);

	return data ? data : qcow2_layer_filename(p->img, e->depth);
}

/* The table tells where data is, so data that is nowhere as such cannot be in
 * it. */
static int print_row(struct map_printer *p, const struct qcow2_extent *e)
{
	if (!(e->flags & QCOW2_EXTENT_DATA) || (e->flags & QCOW2_EXTENT_ZERO))
		return 0;
	if (!(e->flags & QCOW2_EXTENT_HOST_OFF)) {
		cli_error(p->cli, p->path,
			  "the image has external, encrypted "
			  "or compressed clusters, which this table cannot "
			  "show");
		cli_hint(p->cli, "--output json shows them");
		return -1;
	}
	printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->off,
	       e->len, e->host_off, ESC(extent_file(p, e)));
	return 0;
}

static int print_extent(struct map_printer *p, const struct qcow2_extent *e)
{
	if (!p->json)
		return print_row(p, e);
	print_json(p, e);
	return 0;
}

static bool continues(const struct qcow2_extent *a,
		      const struct qcow2_extent *b)
{
	if (a->flags != b->flags || a->depth != b->depth)
		return false;
	return !(a->flags & QCOW2_EXTENT_HOST_OFF) ||
	       a->host_off + a->len == b->host_off;
}

/* Takes the next extent of the walk; prints the one before it when the two
 * are not one. */
static int add_extent(struct map_printer *p, struct qcow2_extent e)
{
	int ret = 0;

	if (e.flags & QCOW2_EXTENT_COMPRESSED)
		e.flags &= ~QCOW2_EXTENT_HOST_OFF;
	e.flags &= SHOWN_FLAGS;
	if (p->pending.len > 0 && continues(&p->pending, &e)) {
		p->pending.len += e.len;
		return 0;
	}
	if (p->pending.len > 0)
		ret = print_extent(p, &p->pending);
	p->pending = e;
	return ret;
}

static void print_begin(const struct map_printer *p)
{
	if (!p->json)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to",
		       "File");
}

/* JSON has an extent even where nothing was asked for. */
static int print_end(struct map_printer *p)
{
	if (p->json || p->pending.len > 0) {
		int ret = print_extent(p, &p->pending);

		if (ret < 0)
			return ret;
	}
	if (p->json)
		printf("]\n");
	return 0;
}

/* ------------------------------------------------------------------------- */

static int walk(struct map_printer *p, uint64_t off, uint64_t end)
{
	struct qcow2_extent extent;
	struct qcow2_error err;

	while (off < end) {
		if (qcow2_map(p->img, end - off, off, 0, &extent, &err) < 0) {
			cli_report(p->cli, p->path, &err);
			return -1;
		}
		if (add_extent(p, extent) < 0)
			return -1;
		off += extent.len;
	}
	return 0;
}

static int print_map(struct map_printer *p, const struct map_options *o)
{
	uint64_t size = qcow2_size(p->img);
	uint64_t end = size;

	if (o->start < size && o->max_len < size - o->start)
		end = o->start + o->max_len;
	p->pending.off = o->start;
	print_begin(p);
	if (walk(p, o->start, end) < 0)
		return -1;
	return print_end(p);
}

static int map_image(const struct cli *cli, const struct map_options *o,
		     const char *path)
{
	struct source src = { path, o->format, 0, NULL };
	struct map_printer p = { .cli = cli,
				 .path = path,
				 .first = true,
				 .json = o->common.output == OUTPUT_JSON };
	int ret;

	if (source_open(cli, &o->common, &src, &p.img) < 0)
		return 1;
	ret = print_map(&p, o);
	qcow2_close(p.img, NULL);
	return ret < 0;
}

static int map_run(const struct cli *cli, int argc, char **argv)
{
	struct map_options o = { COMMON_INIT(cli), QCOW2_FORMAT_PROBE, 0,
				 UINT64_MAX };
	int status;
	int first = command_begin(cli, &command_map, argc, argv, &o, &status);

	if (first == 0)
		return status;
	return map_image(cli, &o, argv[first]);
}

const struct command command_map = {
	.name = "map",
	.summary = "tell where the data of an image is stored",
	.operands = "FILE",
	.n_operands_min = 1,
	.n_operands_max = 1,
	.options = map_table,
	.examples = map_examples,
	.failure = 1,
	.run = map_run,
};
