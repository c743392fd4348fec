/*
 * qcow2 help: the same tables for people and for programs.
 */
#include "command.h"
#include "json.h"

struct help_options {
	struct common common;
};

static const struct option_spec help_table[] = {
	OPTION_OUTPUT,
	OPTION_HELP,
	OPTION_END,
};

static const struct example help_examples[] = {
	{ "help", "which subcommands are there?" },
	{ "help convert", "what can one of them do?" },
	{ NULL, NULL },
};

static void print_overview(const struct cli *cli)
{
	printf("%s: look into, make and convert qcow2 disk images\n\n"
	       "Examples:\n",
	       cli->as->name);
	for (size_t i = 0; commands[i]; i++)
		printf("  %s %s\n", cli->as->name,
		       commands[i]->examples[0].args);
	printf("\nUsage: %s SUBCOMMAND [OPTION]... [FILE]...\n\n"
	       "Subcommands:\n",
	       cli->as->name);
	for (size_t i = 0; commands[i]; i++)
		printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n'%s help SUBCOMMAND' or '%s SUBCOMMAND --help' tells more.\n"
	       "Exit status: 0 success, 1 failure; check and compare tell "
	       "more by theirs.\n",
	       cli->as->name, cli->as->name);
}

static void json_text_or_null(struct json *j, const char *key, const char *text)
{
	if (text)
		json_string(j, key, text);
	else
		json_null(j, key);
}

static void json_option(struct json *j, const struct option_spec *row)
{
	char letter[] = { row->letter, '\0' };

	json_object(j, NULL);
	json_string(j, "long", row->name);
	json_text_or_null(j, "short", row->letter ? letter : NULL);
	json_text_or_null(j, "argument", row->arg);
	json_bool(j, "supported", row->set != set_refuse);
	json_string(j, "help", row->help);
	json_end(j);
}

static void json_example(struct json *j, const struct example *e)
{
	json_object(j, NULL);
	json_string(j, "arguments", e->args);
	json_string(j, "about", e->what);
	json_end(j);
}

static void json_command(struct json *j, const struct command *cmd)
{
	json_object(j, NULL);
	json_string(j, "name", cmd->name);
	json_string(j, "summary", cmd->summary);
	json_string(j, "operands", cmd->operands);
	json_list(j, "options");
	for (const struct option_spec *row = cmd->options; row->help; row++)
		json_option(j, row);
	json_end(j);
	json_list(j, "examples");
	for (const struct example *e = cmd->examples; e->args; e++)
		json_example(j, e);
	json_end(j);
	json_string(j, "exit-status", command_exit_status(cmd));
	json_end(j);
}

/* Prints one subcommand, or a list of all for NULL. */
static void print_json(const struct command *cmd)
{
	struct json j;

	json_init(&j, stdout, JSON_PRETTY);
	if (cmd) {
		json_command(&j, cmd);
		return;
	}
	json_list(&j, NULL);
	for (size_t i = 0; commands[i]; i++)
		json_command(&j, commands[i]);
	json_end(&j);
}

static int print_help(const struct cli *cli, const struct help_options *o,
		      const char *name)
{
	const struct command *cmd = name ? command_find(name) : NULL;

	if (name && !cmd) {
		cli_error(cli, name, "no such subcommand in this version");
		cli_hint(cli, "'%s help' lists them", cli->as->name);
		return 1;
	}
	if (o->common.output == OUTPUT_JSON)
		print_json(cmd);
	else if (cmd)
		command_help_text(cli, cmd);
	else
		print_overview(cli);
	return 0;
}

static int help_run(const struct cli *cli, int argc, char **argv)
{
	struct help_options o = { COMMON_INIT(cli) };
	int status;
	int first = command_begin(cli, &command_help, argc, argv, &o, &status);

	if (first == 0)
		return status;
	return print_help(cli, &o, first < argc ? argv[first] : NULL);
}

const struct command command_help = {
	.name = "help",
	.summary = "say how to use the command or a subcommand",
	.operands = "[SUBCOMMAND]",
	.n_operands_max = 1,
	.options = help_table,
	.examples = help_examples,
	.failure = 1,
	.run = help_run,
};
