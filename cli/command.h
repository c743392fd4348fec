/*
 * The table of subcommands.  Each fact about a subcommand is written once, here
 * or in its table of options: parsing, --help, the manual page and completions
 * come from it.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "cli.h"
#include "options.h"

struct example {
	const char *args; /* after the program's name */
	const char *what;
};

struct command {
	const char *name;
	const char *summary;  /* half a sentence */
	const char *operands; /* "FILE", "" for none */
	int n_operands_min;
	int n_operands_max;
	const struct option_spec *options;
	const struct example *examples; /* ends with args NULL */
	const char *exit_status;        /* lines, or NULL: 0 and 1 */
	bool changes;                   /* makes or changes files */
	int failure;                    /* exit status for a wrong call */
	/* argv[0] is the subcommand's name; returns the exit status. */
	int (*run)(const struct cli *cli, int argc, char **argv);
};

extern const struct command command_info, command_map, command_compare,
	command_convert, command_create, command_check, command_resize,
	command_amend, command_snapshot, command_compact, command_dump,
	command_io, command_bench, command_version, command_help;

/* All subcommands, in the order of the help; ends with NULL. */
extern const struct command *const commands[];

const struct command *command_find(const char *name);

/*
 * Begins each run(): parses the options into @values and counts the operands.
 * Returns the index of the first operand (argc if there is none), or 0 when
 * there is nothing more to do but return *status.
 */
int command_begin(const struct cli *cli, const struct command *cmd, int argc,
		  char **argv, void *values, int *status);

/* Returns the lines of the exit status. */
const char *command_exit_status(const struct command *cmd);

/* Prints the --help text of one subcommand on standard output. */
void command_help_text(const struct cli *cli, const struct command *cmd);

#endif
