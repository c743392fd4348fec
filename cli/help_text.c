/*
 * Help, written from the tables.
 */
#include "command.h"

#include <stdio.h>
#include <string.h>

#define HELP_COLUMN 26
#define HELP_WIDTH 78

static bool is_shown(const struct option_spec *row)
{
	return row->set != set_refuse;
}

/* Folds and prints @text between HELP_COLUMN and HELP_WIDTH, from @at on. */
static void print_folded(const char *text, int at)
{
	while (*text) {
		size_t word = strcspn(text, " ");

		if (at > HELP_COLUMN && at + 1 + (int)word > HELP_WIDTH) {
			putchar('\n');
			at = 0;
		}
		if (at < HELP_COLUMN)
			at += printf("%*s", HELP_COLUMN - at, "");
		else if (at > HELP_COLUMN)
			at += printf(" ");
		at += printf("%.*s", (int)word, text);
		text += word;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_option(const struct option_spec *row)
{
	char head[96];
	int len;

	len = snprintf(head, sizeof(head), "  %c%c%s --%s%s%s",
		       row->letter ? '-' : ' ', row->letter ? row->letter : ' ',
		       row->letter ? "," : " ", row->name, row->arg ? " " : "",
		       row->arg ? row->arg : "");
	fputs(head, stdout);
	if (len > HELP_COLUMN - 2) {
		putchar('\n');
		len = 0;
	}
	print_folded(row->help, len);
}

/* If the program is the subcommand, examples begin after its name. */
static void print_examples(const struct cli *cli, const struct command *cmd)
{
	size_t skip = cli->as->only ? strlen(cmd->name) + 1 : 0;

	for (const struct example *e = cmd->examples; e->args; e++)
		printf("  # %s\n  %s %s\n", e->what, cli->as->name,
		       e->args + skip);
}

const char *command_exit_status(const struct command *cmd)
{
	return cmd->exit_status ? cmd->exit_status
				: "  0  it worked\n"
				  "  1  it did not\n";
}

void command_help_text(const struct cli *cli, const struct command *cmd)
{
	const char *space = cli->as->only ? "" : " ";
	const char *name = cli->as->only ? "" : cmd->name;

	printf("%s%s%s: %s\n\nExamples:\n", cli->as->name, space, name,
	       cmd->summary);
	print_examples(cli, cmd);
	printf("\nUsage: %s%s%s [OPTION]...%s%s\n\nOptions:\n", cli->as->name,
	       space, name, *cmd->operands ? " " : "", cmd->operands);
	for (const struct option_spec *row = cmd->options; row->help; row++)
		if (is_shown(row))
			print_option(row);
	printf("\nExit status:\n%s", command_exit_status(cmd));
}
