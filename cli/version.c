/*
 * qcow2 version
 */
#include "command.h"
#include "json.h"

struct version_options {
	struct common common;
};

static const struct option_spec version_table[] = {
	OPTION_OUTPUT,
	OPTION_HELP,
	OPTION_END,
};

static const struct example version_examples[] = {
	{ "version", "which version of command and library is this?" },
	{ NULL, NULL },
};

static void print_json(void)
{
	struct json j;

	json_init(&j, stdout, JSON_PRETTY);
	json_object(&j, NULL);
	json_string(&j, "qcow2", QCOW2_VERSION_STRING);
	json_string(&j, "libqcow2", qcow2_version());
	json_end(&j);
}

static int version_run(const struct cli *cli, int argc, char **argv)
{
	struct version_options o = { COMMON_INIT(cli) };
	int status;

	if (!command_begin(cli, &command_version, argc, argv, &o, &status))
		return status;
	if (o.common.output == OUTPUT_JSON)
		print_json();
	else
		printf("%s (libqcow2 %s)\n", cli->as->version, qcow2_version());
	return 0;
}

const struct command command_version = {
	.name = "version",
	.summary = "print the versions of the command and of the library",
	.operands = "",
	.options = version_table,
	.examples = version_examples,
	.failure = 1,
	.run = version_run,
};
