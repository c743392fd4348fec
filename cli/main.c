/*
 * The qcow2 command: finds the subcommand and runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "command.h"

static const struct personality qcow2_personality = {
	.name = "qcow2",
	.external = QCOW2_EXTERNAL_DIR,
	.backing_format = QCOW2_FORMAT_DEFAULT,
	.create_format = "qcow2",
	.extras = true,
	.bar = true,
	.version = "qcow2 " QCOW2_VERSION_STRING,
};

/* Programs ask for the version in these words and look at the numbers to know
 * which command line they may use. */
static const struct personality qemu_img_personality = {
	.name = "qemu-img",
	.external = QCOW2_EXTERNAL_ANY,
	.backing_format = QCOW2_FORMAT_PROBE,
	.create_format = "raw",
	.extras = false,
	.bar = false,
	.version = "qemu-img version 7.2.22",
};

static const struct personality qemu_io_personality = {
	.name = "qemu-io",
	.external = QCOW2_EXTERNAL_ANY,
	.backing_format = QCOW2_FORMAT_PROBE,
	.create_format = "raw",
	.extras = false,
	.bar = false,
	.version = "qemu-io version 7.2.22",
	.only = &command_io,
};

const struct command *const commands[] = {
	&command_info,     &command_map,     &command_compare, &command_convert,
	&command_create,   &command_check,   &command_resize,  &command_amend,
	&command_snapshot, &command_compact, &command_dump,    &command_io,
	&command_bench,    &command_version, &command_help,    NULL,
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

int command_begin(const struct cli *cli, const struct command *cmd, int argc,
		  char **argv, void *values, int *status)
{
	int first = options_parse(cli, cmd->options, argc, argv, values);
	int n = argc - first;

	*status = cmd->failure;
	if (first < 0)
		return 0;
	if (first == 0) {
		command_help_text(cli, cmd);
		*status = 0;
		return 0;
	}
	if (n >= cmd->n_operands_min && n <= cmd->n_operands_max)
		return first;
	cli_error(cli, cmd->name, "%s operand: expected %s",
		  n < cmd->n_operands_min ? "missing" : "unexpected",
		  *cmd->operands ? cmd->operands : "none");
	return 0;
}

/* Turns --help and --version into subcommands, as users of any command
 * expect. */
static const char *command_name(const char *word)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return "help";
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		return "version";
	return word;
}

/* Lost output is a failure of a command that only prints.  The status of other
 * commands tells of their work, and scripts take it for that. */
static int finish_output(const struct cli *cli, const struct command *cmd,
			 int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	if (cmd->changes && (errno == EPIPE || !cli->as->extras))
		return status;
	cli_error(cli, NULL, "cannot write to standard output: %s",
		  strerror(errno));
	return status || cmd->changes ? status : 1;
}

/*
 * A command that only prints ends when nobody reads, as everything in a
 * pipeline does.  A command that makes or changes files goes on with its work:
 * the files matter more than the messages about them.
 */
static int run(const struct cli *cli, const struct command *cmd, int argc,
	       char **argv)
{
	struct cli with = { cli->as, cmd };
	int status;

	if (cmd->changes)
		signal(SIGPIPE, SIG_IGN);
	status = cmd->run(&with, argc, argv);
	return finish_output(cli, cmd, status);
}

static int dispatch(const struct cli *cli, int argc, char **argv)
{
	const struct command *cmd = cli->as->only;

	if (cmd)
		return run(cli, cmd, argc, argv);
	if (argc < 2) {
		cli_error(cli, NULL, "missing subcommand");
		cli_hint(cli, "'%s help' lists them", cli->as->name);
		return 1;
	}
	cmd = command_find(command_name(argv[1]));
	if (!cmd) {
		cli_error(cli, argv[1], "no such subcommand in this version");
		cli_hint(cli, "'%s help' lists them", cli->as->name);
		return 1;
	}
	return run(cli, cmd, argc - 1, argv + 1);
}

/* A file opened as descriptor 1 would receive the output.  The descriptor is
 * read-only, so that output without a place to go stays an error. */
static void occupy_standard_descriptors(void)
{
	int fd = open("/dev/null", O_RDONLY);

	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = open("/dev/null", O_RDONLY);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* An image of a chain takes two descriptors, and the usual soft limit is 1024.
 * It is low for the sake of select(), which nobody calls here. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static const struct personality *personality_of(const char *argv0)
{
	static const struct personality *const others[] = {
		&qemu_img_personality,
		&qemu_io_personality,
	};
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *name = slash ? slash + 1 : argv0;

	for (size_t i = 0; name && i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(name, others[i]->name) == 0)
			return others[i];
	return &qcow2_personality;
}

int main(int argc, char **argv)
{
	struct cli cli = { personality_of(argv[0]), NULL };

	occupy_standard_descriptors();
	allow_descriptors();
	/* A file that becomes too large is an error like others. */
	signal(SIGXFSZ, SIG_IGN);
	return dispatch(&cli, argc, argv);
}
