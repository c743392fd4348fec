/*
 * qcow2 io
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "io/io.h"

struct script {
	char **lines; /* allocated, each of them too */
	size_t n;
};

struct io_options {
	struct common common;
	enum qcow2_format format;
	struct script script;
	const char *cache;
	const char *discard;
	const char *aio;
	bool read_only;
	bool overlay;
	bool copy_on_read;
	bool misalign;
	bool image_opts;
	bool version;
};

static int set_line(const struct option_value *v)
{
	struct script *s = v->field;
	char **lines = realloc(s->lines, (s->n + 1) * sizeof(*lines));
	char *line = lines ? strdup(v->arg) : NULL;

	if (lines)
		s->lines = lines;
	if (!line) {
		cli_error(v->cli, v->name, "out of memory");
		return -1;
	}
	s->lines[s->n++] = line;
	return 0;
}

static int set_none(const struct option_value *v)
{
	*(const char **)v->field = "none";
	return 0;
}

static int set_native(const struct option_value *v)
{
	*(const char **)v->field = "native";
	return 0;
}

#define IO_FIELD(member) offsetof(struct io_options, member)

static const struct option_spec io_table[] = {
	{ "cmd", 'c', "COMMAND", set_line, IO_FIELD(script),
	  "run this command and no others; may be repeated" },
	{ "format", 'f', "FMT", set_known_format, IO_FIELD(format),
	  "format of the image: qcow2 or raw" },
	{ "read-only", 'r', NULL, set_flag, IO_FIELD(read_only),
	  "open it for reading only" },
	{ "snapshot", 's', NULL, set_flag, IO_FIELD(overlay),
	  "write changes to a temporary image, which is lost at the end" },
	{ "nocache", 'n', NULL, set_none, IO_FIELD(cache),
	  "the same as -t none" },
	{ "copy-on-read", 'C', NULL, set_flag, IO_FIELD(copy_on_read),
	  "copy data read from a backing file into the image" },
	{ "misalign", 'm', NULL, set_flag, IO_FIELD(misalign),
	  "use buffers at odd addresses" },
	{ "native-aio", 'k', NULL, set_native, IO_FIELD(aio),
	  "the same as -i native" },
	{ "aio", 'i', "MODE", set_text, IO_FIELD(aio),
	  "threads, native or io_uring; accepted, transfers always run in "
	  "threads" },
	{ "cache", 't', "CACHE", set_text, IO_FIELD(cache),
	  "none and directsync go around the page cache; writethrough and "
	  "directsync make each write durable; unsafe never asks the host to; "
	  "writeback, the default, does when it is flushed" },
	{ "discard", 'd', "MODE", set_text, IO_FIELD(discard),
	  "ignore, or unmap: whether discards free space of the host" },
	{ "force-share", 'U', NULL, set_flag, IO_FIELD(common.force_share),
	  "with -r: also when another program writes to the image" },
	{ "image-opts", 0, NULL, set_flag, IO_FIELD(image_opts),
	  "the operand is KEY=VALUE,... as for the command open -o" },
	{ "trace", 'T', "PATTERN", set_nothing, 0,
	  "accepted for scripts; changes nothing" },
	OPTION_BACKING_FORMAT,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_TRUST_REFCOUNTS,
	{ "version", 'V', NULL, set_flag, IO_FIELD(version),
	  "print the version and exit" },
	OPTION_HELP,
	OPTION_REFUSED("object", 0, "DEF"),
	OPTION_END,
};

static const struct example io_examples[] = {
	{ "io -c 'write -P 0x5a 0 64k' -c 'read -P 0x5a 0 64k' disk.qcow2",
	  "write a pattern, and check that it is there" },
	{ "io -r -c map disk.qcow2", "show what the image itself has" },
	{ "io -c help", "which commands are there?" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */

static int take_settings(const struct cli *cli, const struct io_options *o,
			 struct io_settings *s)
{
	io_settings_init(s);
	s->format = o->format;
	s->read_only = o->read_only;
	s->overlay = o->overlay;
	s->copy_on_read = o->copy_on_read;
	s->force_share = o->common.force_share;
	if (o->cache && io_set_cache(cli, s, o->cache) < 0)
		return -1;
	if (o->discard && io_set_discard(cli, s, o->discard) < 0)
		return -1;
	return io_check_aio(cli, s, o->aio);
}

/* Returns the file that --image-opts names. */
static char *path_of_opts(const struct cli *cli, const char *operand,
			  struct io_settings *s)
{
	char *text = strdup(operand);
	char *path = NULL;
	int rc = text ? io_settings_add(cli, s, text, &path) : -1;

	free(text);
	if (rc == 0 && !path)
		cli_error(cli, operand, "no file.filename=... in it");
	if (rc < 0) {
		free(path);
		return NULL;
	}
	return path;
}

static int open_operand(struct io_shell *sh, const struct io_options *o,
			const char *operand)
{
	struct io_settings s;
	char *path;

	if (take_settings(sh->cli, o, &s) < 0)
		return -1;
	if (!operand)
		return 0;
	if (o->image_opts && o->format != QCOW2_FORMAT_DEFAULT) {
		cli_error(sh->cli, NULL,
			  "--image-opts and -f are mutually "
			  "exclusive");
		return -1;
	}
	path = o->image_opts ? path_of_opts(sh->cli, operand, &s)
			     : strdup(operand);
	return path ? io_file_open(sh, path, &s) : -1;
}

static int run_script(struct io_shell *sh, const struct script *script)
{
	int rc = 0;

	for (size_t i = 0; i < script->n && !sh->quit; i++)
		if (io_run_line(sh, script->lines[i]) < 0)
			rc = -1;
	return rc;
}

static int run_input(struct io_shell *sh)
{
	struct io_lines lines = { .fd = STDIN_FILENO };
	char *line;
	int rc = 0;

	while (!sh->quit) {
		printf("%s> ", sh->cli->as->name);
		fflush(stdout);
		line = io_next_line(&lines, sh);
		if (!line)
			break;
		if (io_run_line(sh, line) < 0)
			rc = -1;
	}
	io_lines_release(&lines);
	return rc;
}

static int run_shell(const struct cli *cli, const struct io_options *o,
		     const char *operand)
{
	struct io_shell sh = { .cli = cli,
			       .common = &o->common,
			       .misalign = o->misalign };
	int rc;

	pthread_rwlock_init(&sh.copying, NULL);
	rc = open_operand(&sh, o, operand);
	if (rc == 0)
		rc = o->script.n ? run_script(&sh, &o->script) : run_input(&sh);
	if (io_file_close(&sh) < 0)
		rc = -1;
	io_queue_free(&sh);
	pthread_rwlock_destroy(&sh.copying);
	return rc < 0;
}

static void script_release(struct script *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->lines[i]);
	free(s->lines);
}

static int io_run(const struct cli *cli, int argc, char **argv)
{
	struct io_options o = { .common = COMMON_INIT(cli) };
	int status;
	int first = command_begin(cli, &command_io, argc, argv, &o, &status);

	if (first && o.version)
		status = command_version.run(cli, 1, argv);
	else if (first)
		status = run_shell(cli, &o, first < argc ? argv[first] : NULL);
	script_release(&o.script);
	return status;
}

const struct command command_io = {
	.name = "io",
	.summary = "read and write a disk with the commands of qemu-io",
	.operands = "[FILE]",
	.n_operands_max = 1,
	.options = io_table,
	.examples = io_examples,
	.exit_status = "  0  every command worked\n"
		       "  1  one did not, or the disk could not be opened\n",
	.changes = true,
	.failure = 1,
	.run = io_run,
};
