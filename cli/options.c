/*
 * From a table of options to getopt and back.
 */
#include "options.h"

#include <assert.h>
#include <getopt.h>
#include <string.h>

#define OPTIONS_MAX 48
#define NAME_MAX_LEN 48

/* The tables that getopt_long() reads. */
struct getopt_tables {
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 * OPTIONS_MAX + 2];
};

/* Values of long options: the row's index, beyond all letters. */
#define LONG_BASE 256

static void tables_fill(struct getopt_tables *t, const struct option_spec *row)
{
	char *s = t->shorts;
	int i = 0;

	memset(t, 0, sizeof(*t));
	*s++ = ':'; /* tell a missing argument from an unknown option */
	for (; row[i].help; i++) {
		assert(i < OPTIONS_MAX);
		t->longs[i].name = row[i].name;
		t->longs[i].has_arg = row[i].arg ? required_argument
						 : no_argument;
		t->longs[i].val = LONG_BASE + i;
		if (!row[i].letter)
			continue;
		*s++ = row[i].letter;
		if (row[i].arg)
			*s++ = ':';
	}
}

static const struct option_spec *row_of(const struct option_spec *row,
					int value)
{
	if (value >= LONG_BASE)
		return &row[value - LONG_BASE];
	while (row->letter != value)
		row++;
	return row;
}

/* Writes the option as it was written, for messages. */
static void option_name(char *name, const struct option_spec *row, int value)
{
	if (value >= LONG_BASE)
		snprintf(name, NAME_MAX_LEN, "--%s", row->name);
	else
		snprintf(name, NAME_MAX_LEN, "-%c", value);
}

static int complain(const struct cli *cli, int value, char **argv)
{
	char letter[] = { '-', (char)optopt, '\0' };
	bool is_letter = optopt > 0 && optopt < LONG_BASE;
	const char *name = is_letter ? letter : argv[optind - 1];

	if (value == ':')
		cli_error(cli, name, "this option needs an argument");
	else if (optopt >= LONG_BASE)
		cli_error(cli, name, "this option takes no argument");
	else
		cli_error(cli, name, "no such option, or not a unique one");
	cli_hint(cli, "--help lists the options");
	return -1;
}

static int apply(const struct cli *cli, const struct option_spec *row,
		 int value, const char *arg, void *values)
{
	char name[NAME_MAX_LEN];
	struct option_value v = {
		.cli = cli,
		.name = name,
		.arg = row->arg ? arg : NULL,
		.detail = row->help,
		.field = (char *)values + row->field,
	};

	option_name(name, row, value);
	return row->set(&v);
}

/* Scripts append to command lines, so an overridden value need not be valid. */
static bool only_last_counts(const struct option_spec *row)
{
	return row->set == set_format || row->set == set_known_format ||
	       row->set == set_cache || row->set == set_output;
}

/* Such an option, as it was given last. */
struct last_given {
	int value; /* 0: not given */
	const char *arg;
};

static int apply_last(const struct cli *cli, const struct option_spec *options,
		      const struct last_given *last, void *values)
{
	for (int i = 0; options[i].help; i++)
		if (last[i].value && apply(cli, &options[i], last[i].value,
					   last[i].arg, values) < 0)
			return -1;
	return 0;
}

int options_parse(const struct cli *cli, const struct option_spec *options,
		  int argc, char **argv, void *values)
{
	struct last_given last[OPTIONS_MAX] = { { 0, NULL } };
	struct getopt_tables t;
	int value;

	tables_fill(&t, options);
	opterr = 0;
	optind = 0; /* start over: glibc's way to say so */
	for (;;) {
		const struct option_spec *row;

		value = getopt_long(argc, argv, t.shorts, t.longs, NULL);
		if (value < 0)
			break;
		if (value == '?' || value == ':')
			return complain(cli, value, argv);
		row = row_of(options, value);
		if (!row->set)
			return 0;
		if (only_last_counts(row))
			last[row - options] = (struct last_given){
				value,
				optarg,
			};
		else if (apply(cli, row, value, optarg, values) < 0)
			return -1;
	}
	return apply_last(cli, options, last, values) < 0 ? -1 : optind;
}
