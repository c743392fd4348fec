/*
 * qcow2 dump
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "json.h"
#include "size.h"

struct dump_options {
	struct common common;
	const char *snapshot;
};

static const struct option_spec dump_table[] = {
	{ "snapshot", 'l', "SNAPSHOT", set_text,
	  offsetof(struct dump_options, snapshot),
	  "with l1, l2 and entry: the tables of the snapshot with this id or "
	  "name" },
	OPTION_FORCE_SHARE,
	OPTION_OUTPUT,
	OPTION_HELP,
	OPTION_END,
};

static const struct example dump_examples[] = {
	{ "dump disk.qcow2",
	  "the header, its extensions, and where everything else is" },
	{ "dump disk.qcow2 header", "the same" },
	{ "dump disk.qcow2 l1", "the L1 table" },
	{ "dump disk.qcow2 l2 3", "the L2 table of entry 3 of the L1 table" },
	{ "dump disk.qcow2 refcounts", "the refcount table and its blocks" },
	{ "dump disk.qcow2 refcounts 8", "the same from its entry 8 on" },
	{ "dump disk.qcow2 snapshots", "the snapshot table" },
	{ "dump disk.qcow2 bitmaps", "the bitmap directory" },
	{ "dump disk.qcow2 entry 1.5G",
	  "all that leads from a place on the disk to its refcount" },
	{ "dump --output json disk.qcow2 l1", "the same for a program" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* The words after the file                                                  */

enum number {
	NUMBER_NONE,
	NUMBER_MAYBE_INDEX,
	NUMBER_INDEX,
	NUMBER_OFFSET,
};

static const struct part {
	const char *name;
	enum qcow2_dump_what what;
	enum number number;
} parts[] = {
	{ "header", QCOW2_DUMP_HEADER, NUMBER_NONE },
	{ "l1", QCOW2_DUMP_L1, NUMBER_MAYBE_INDEX },
	{ "l2", QCOW2_DUMP_L2, NUMBER_INDEX },
	{ "refcounts", QCOW2_DUMP_REFCOUNTS, NUMBER_MAYBE_INDEX },
	{ "snapshots", QCOW2_DUMP_SNAPSHOTS, NUMBER_NONE },
	{ "bitmaps", QCOW2_DUMP_BITMAPS, NUMBER_NONE },
	{ "entry", QCOW2_DUMP_ENTRY, NUMBER_OFFSET },
};

static const struct part *part_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(parts[i].name, name) == 0)
			return &parts[i];
	return NULL;
}

static int take_number(const struct cli *cli, const struct part *part,
		       const char *text, struct qcow2_dump_opts *opts)
{
	bool is_offset = part->number == NUMBER_OFFSET;
	uint64_t *number = is_offset ? &opts->offset : &opts->index;

	if (part->number == NUMBER_NONE) {
		cli_error(cli, part->name, "takes no number");
		return -1;
	}
	if (size_parse(text, number) < 0 || *number > INT64_MAX) {
		cli_error(cli, part->name, "'%s' is no %s", ESC(text),
			  is_offset ? "offset on the disk"
				    : "number of an entry");
		return -1;
	}
	return 0;
}

/* @words: the part to dump and a number, as far as they are given. */
static int take_words(const struct cli *cli, char **words, int n,
		      struct qcow2_dump_opts *opts)
{
	const struct part *part = part_by_name(n > 0 ? words[0] : "header");

	if (!part) {
		cli_error(cli, words[0], "this cannot be dumped");
		cli_hint(cli, "it is one of header, l1, l2 N, refcounts, "
			      "snapshots, bitmaps, entry OFFSET");
		return -1;
	}
	opts->what = part->what;
	if (n > 1)
		return take_number(cli, part, words[1], opts);
	if (part->number == NUMBER_INDEX || part->number == NUMBER_OFFSET) {
		cli_error(cli, part->name, "needs %s",
			  part->number == NUMBER_INDEX
				  ? "the number of an entry of the L1 table"
				  : "an offset on the disk");
		return -1;
	}
	return 0;
}

/* ------------------------------------------------------------------------- */
/* Printing                                                                  */

struct printer {
	bool as_json;
	bool begun;
	struct json json;
};

static void print_field(const struct qcow2_dump_field *f, const char *before)
{
	switch (f->type) {
	case QCOW2_DUMP_FLAG:
		if (f->value)
			printf("%s%s", before, f->name);
		break;
	case QCOW2_DUMP_TEXT:
		printf("%s%s \"%s\"", before, f->name, f->text);
		break;
	case QCOW2_DUMP_HEX:
		printf("%s%s 0x%" PRIx64, before, f->name, f->value);
		break;
	default:
		printf("%s%s %" PRIu64, before, f->name, f->value);
	}
}

/* Prints a record in a line, and each rule that it breaks in one below. */
static void print_line(const struct qcow2_dump_record *r)
{
	if (r->host_off == UINT64_MAX)
		printf("%-14s %s", "-", r->kind);
	else
		printf("0x%-12" PRIx64 " %s", r->host_off, r->kind);
	for (uint32_t i = 0; i < r->n_fields; i++)
		print_field(&r->fields[i], i ? ", " : " ");
	putchar('\n');
	for (uint32_t i = 0; i < r->n_defects; i++)
		printf("%14s ! %s: %s\n", "", qcow2_defect_name(r->defects[i]),
		       qcow2_defect_text(r->defects[i]));
}

static void json_field(struct json *j, const struct qcow2_dump_field *f)
{
	if (f->type == QCOW2_DUMP_FLAG)
		json_bool(j, f->name, f->value);
	else if (f->type == QCOW2_DUMP_TEXT)
		json_string(j, f->name, f->text);
	else
		json_u64(j, f->name, f->value);
}

static void json_defects(struct json *j, const struct qcow2_dump_record *r)
{
	if (!r->n_defects)
		return;
	json_list(j, "defects");
	for (uint32_t i = 0; i < r->n_defects; i++)
		json_string(j, NULL, qcow2_defect_name(r->defects[i]));
	json_end(j);
}

/* Prints one line for each record, since there may be millions. */
static void print_json(struct json *j, const struct qcow2_dump_record *r)
{
	json_object(j, NULL);
	j->style = JSON_LINE;
	json_string(j, "record", r->kind);
	if (r->host_off != UINT64_MAX)
		json_u64(j, "at", r->host_off);
	for (uint32_t i = 0; i < r->n_fields; i++)
		json_field(j, &r->fields[i]);
	json_defects(j, r);
	json_end(j);
	j->style = JSON_PRETTY;
}

static void begin_json(struct printer *p)
{
	if (!p->as_json || p->begun)
		return;
	p->begun = true;
	json_init(&p->json, stdout, JSON_PRETTY);
	json_list(&p->json, NULL);
}

/* Stops when output cannot be written: nobody waits for the rest. */
static int print_record(void *opaque, const struct qcow2_dump_record *r)
{
	struct printer *p = opaque;

	begin_json(p);
	if (p->as_json)
		print_json(&p->json, r);
	else
		print_line(r);
	return ferror(stdout);
}

/* ------------------------------------------------------------------------- */

static int dump_store(const struct cli *cli, const char *path,
		      struct qcow2_store *store, struct qcow2_dump_opts *opts,
		      bool as_json)
{
	struct printer p = { .as_json = as_json };
	struct qcow2_error err;
	int ret;

	opts->report = print_record;
	opts->opaque = &p;
	ret = qcow2_dump_store(store, opts, &err);
	/* Output that has begun ends as JSON whatever happens. */
	if (p.begun)
		json_end(&p.json);
	if (ret == -ECANCELED)
		return 1;
	if (ret < 0)
		cli_report(cli, path, &err);
	return ret < 0;
}

static int dump_file(const struct cli *cli, const struct dump_options *o,
		     const char *path, struct qcow2_dump_opts *opts)
{
	struct qcow2_store *store;
	struct qcow2_error err;
	int status;

	opts->snapshot = o->snapshot;
	opts->flags = o->common.force_share ? QCOW2_DUMP_NO_LOCK : 0;
	if (qcow2_store_open_file(path, 0, &store, &err) < 0) {
		cli_report(cli, path, &err);
		return 1;
	}
	status = dump_store(cli, path, store, opts,
			    o->common.output == OUTPUT_JSON);
	qcow2_store_unref(store);
	return status;
}

static int dump_run(const struct cli *cli, int argc, char **argv)
{
	struct dump_options o = { COMMON_INIT(cli), NULL };
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;
	int status;
	int first = command_begin(cli, &command_dump, argc, argv, &o, &status);

	if (first == 0)
		return status;
	if (take_words(cli, argv + first + 1, argc - first - 1, &opts) < 0)
		return 1;
	return dump_file(cli, &o, argv[first], &opts);
}

const struct command command_dump = {
	.name = "dump",
	.summary = "print the metadata of an image, however damaged it is",
	.operands = "FILE [WHAT] [NUMBER]",
	.n_operands_min = 1,
	.n_operands_max = 3,
	.options = dump_table,
	.examples = dump_examples,
	.failure = 1,
	.run = dump_run,
};
