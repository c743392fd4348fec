/*
 * The commands of the shell.  This finds the command of a line, and prints
 * help.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/io.h"

#define MACHINE "  -C  numbers for programs: bytes, operations, time, rates\n"
#define QUIET "  -q  no line about what was done\n"
#define DUMP "  -v  print the bytes\n"
#define EXPECT "  -P  complain unless every byte is this one\n"
#define PATTERN "  -P  the byte to write, 0xcd if not given\n"
#define FUA "  -f  durable when it is done\n"
#define INVALID "  -i  count as an invalid request, do nothing\n"
#define ZERO                                                     \
	"  -z  write zeros, without data where the format can\n" \
	"  -u  with -z: the space may be given back\n"

static const char read_more[] =
	"Reads bytes of the disk.\n"
	"  -b  from the state of a virtual machine instead\n" MACHINE
	"  -l  how many bytes -P looks at\n"
	"  -p  accepted for old scripts, without effect\n" EXPECT QUIET
	"  -s  how far after the first byte read -P begins to look\n" DUMP;

static const char write_more[] =
	"Writes bytes of the disk.\n"
	"  -b  into the state of a virtual machine instead\n"
	"  -c  compressed\n" MACHINE FUA
	"  -n  with -z: fail rather than write data\n"
	"  -p  accepted for old scripts, without effect\n" PATTERN QUIET
	"  -s  write the bytes of this file, repeated\n" ZERO;

static const char readv_more[] =
	"Reads into as many buffers as there are lengths.\n" MACHINE EXPECT
		QUIET DUMP;

static const char writev_more[] =
	"Writes from as many buffers as there are lengths.\n" MACHINE FUA
		PATTERN QUIET;

static const char aio_read_more[] =
	"Begins to read and does not wait; aio_flush does. The result is told\n"
	"later and does not change the exit status.\n" MACHINE INVALID EXPECT
		QUIET DUMP;

static const char aio_write_more[] =
	"Begins to write and does not wait; aio_flush does. The result is "
	"told\n"
	"later and does not change the exit status.\n" MACHINE FUA INVALID
		PATTERN QUIET ZERO;

static const char discard_more[] =
	"Says that bytes do not matter any more.\n" MACHINE QUIET;

static const char open_more[] =
	"Opens a disk for the other commands.\n"
	"  -C  copy data read from a backing file into the image\n"
	"  -d  ignore, or unmap: whether discards free space of the host\n"
	"  -i  accepted, without effect: threads, native or io_uring\n"
	"  -k  the same as -i native\n"
	"  -n  the same as -t none\n"
	"  -o  KEY=VALUE,...: driver, file.filename, cache.direct, ...\n"
	"  -r  for reading only\n"
	"  -s  changes go to a temporary image and are lost\n"
	"  -t  none, writeback, writethrough, directsync or unsafe\n"
	"  -U  with -r: also when another program writes to it\n";

static const char reopen_more[] = "Opens the same disk again, in another way.\n"
				  "  -c  another cache mode\n"
				  "  -o  as for open\n"
				  "  -r  for reading only\n"
				  "  -w  for writing\n";

static const char stats_more[] =
	"Counts the work done with the disk since it was opened, or since the\n"
	"last stats -r of the same layer. Layer 0, if not given, is the image\n"
	"itself, 1 its backing file.\n"
	"  -j  as an object of JSON, on one line\n"
	"  -r  then count from 0 again; present sizes stay\n";

static const char truncate_more[] =
	"Gives the disk another size.\n"
	"  -m  space to allocate as it grows: off, metadata, falloc or full\n";

/* ------------------------------------------------------------------------- */
/* Commands that need no disk                                                */

static int run_quit(struct io_shell *sh, const struct io_command *self,
		    int argc, char **argv)
{
	(void)self;
	(void)argc;
	(void)argv;
	sh->quit = true;
	return 0;
}

static int run_sleep(struct io_shell *sh, const struct io_command *self,
		     int argc, char **argv)
{
	struct timespec left;
	char *end;
	long ms = strtol(argv[1], &end, 0);

	(void)sh;
	(void)self;
	(void)argc;
	if (end == argv[1] || *end || ms < 0) {
		printf("%s is not a valid number\n", ESC(argv[1]));
		return -1;
	}
	left.tv_sec = ms / 1000;
	left.tv_nsec = ms % 1000 * 1000000;
	fflush(stdout);
	while (nanosleep(&left, &left) < 0)
		;
	return 0;
}

static int run_sigraise(struct io_shell *sh, const struct io_command *self,
			int argc, char **argv)
{
	uint64_t number;

	(void)sh;
	(void)self;
	(void)argc;
	if (io_parse_size(argv[1], &number) < 0)
		return -1;
	if (number > NSIG) {
		printf("signal argument '%s' is too large to be a valid "
		       "signal\n",
		       ESC(argv[1]));
		return -1;
	}
	fflush(stdout);
	raise((int)number);
	return 0;
}

/* Crashes, for those who want to see what is left. */
static int run_abort(struct io_shell *sh, const struct io_command *self,
		     int argc, char **argv)
{
	(void)sh;
	(void)self;
	(void)argc;
	(void)argv;
	fflush(stdout);
	abort();
}

/* ------------------------------------------------------------------------- */

const struct io_command io_commands[] = {
	{ "abort", NULL, 0, 0, IO_NO_FILE, NULL,
	  "end at once by abort(3), closing nothing", NULL, run_abort },
	{ "aio_flush", NULL, 0, 0, IO_COLLECTS, NULL,
	  "wait for the transfers that aio_read and aio_write began", NULL,
	  io_run_aio_flush },
	{ "aio_read", NULL, 2, -1, 0, "[-Ciqv] [-P pattern] off len [len..]",
	  "begin to read a number of bytes", aio_read_more, io_run_aio_read },
	{ "aio_write", NULL, 2, -1, IO_WRITES,
	  "[-Cfiquz] [-P pattern] off len [len..]",
	  "begin to write a number of bytes", aio_write_more,
	  io_run_aio_write },
	{ "alloc", "a", 1, 2, 0, "offset [count]",
	  "count those of these bytes that the image itself has", NULL,
	  io_run_alloc },
	{ "close", "c", 0, 0, 0, NULL, "close the disk", NULL, io_run_close },
	{ "discard", "d", 2, -1, IO_WRITES | IO_COLLECTS, "[-Cq] off len",
	  "discard a number of bytes", discard_more, io_run_discard },
	{ "flush", "f", 0, 0, IO_COLLECTS, NULL, "make all writes durable",
	  NULL, io_run_flush },
	{ "help", "?", 0, 1, IO_NO_FILE, "[command]",
	  "tell about all commands, or about one", NULL, io_run_help },
	{ "info", "i", 0, 0, 0, NULL, "tell about the image", NULL,
	  io_run_info },
	{ "length", "l", 0, 0, 0, NULL, "print the size of the disk", NULL,
	  io_run_length },
	{ "map", NULL, 0, 0, 0, NULL, "show what the image itself has", NULL,
	  io_run_map },
	{ "open", "o", 1, -1, IO_NO_FILE,
	  "[-rsCnkU] [-i mode] [-t cache] [-d discard] [-o options] [path]",
	  "open a disk", open_more, io_run_open },
	{ "quit", "q", 0, -1, IO_NO_FILE, NULL, "end", NULL, run_quit },
	{ "read", "r", 2, -1, IO_COLLECTS,
	  "[-bCpqv] [-P pattern [-s off] [-l len]] off len",
	  "read a number of bytes", read_more, io_run_read },
	{ "readv", NULL, 2, -1, IO_COLLECTS,
	  "[-Cqv] [-P pattern] off len [len..]",
	  "read a number of bytes into several buffers", readv_more,
	  io_run_readv },
	{ "reopen", NULL, 0, -1, IO_COLLECTS,
	  "[(-r|-w)] [-c cache] [-o options]",
	  "open the disk again in another way", reopen_more, io_run_reopen },
	{ "sigraise", NULL, 1, 1, IO_NO_FILE, "signal",
	  "send this program a signal", NULL, run_sigraise },
	{ "sleep", NULL, 1, 1, IO_NO_FILE | IO_COLLECTS, "milliseconds",
	  "do nothing for that long", NULL, run_sleep },
	{ "stats", NULL, 0, -1, 0, "[-jr] [layer]",
	  "count reads, writes and other work", stats_more, io_run_stats },
	{ "truncate", "t", 1, 3, IO_WRITES | IO_COLLECTS, "[-m prealloc] size",
	  "change the size of the disk", truncate_more, io_run_truncate },
	{ "write", "w", 2, -1, IO_WRITES | IO_COLLECTS,
	  "[-bcCfnpquz] [-P pattern | -s file] off len",
	  "write a number of bytes", write_more, io_run_write },
	{ "writev", NULL, 2, -1, IO_WRITES | IO_COLLECTS,
	  "[-Cfq] [-P pattern] off len [len..]",
	  "write a number of bytes from several buffers", writev_more,
	  io_run_writev },
	{ NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL },
};

static const struct io_command *find(const char *name)
{
	for (const struct io_command *c = io_commands; c->name; c++)
		if (strcmp(c->name, name) == 0 ||
		    (c->alias && strcmp(c->alias, name) == 0))
			return c;
	return NULL;
}

static void print_line(const struct io_command *c)
{
	printf("%s%s%s -- %s\n", c->name, c->usage ? " " : "",
	       c->usage ? c->usage : "", c->summary);
}

int io_usage(const struct io_command *self)
{
	print_line(self);
	return -1;
}

int io_run_help(struct io_shell *sh, const struct io_command *self, int argc,
		char **argv)
{
	const struct io_command *c;

	(void)sh;
	(void)self;
	if (argc < 2) {
		for (c = io_commands; c->name; c++)
			print_line(c);
		printf("\n'help COMMAND' tells more about one.\n");
		return 0;
	}
	c = find(argv[1]);
	if (!c) {
		printf("command %s not found\n", ESC(argv[1]));
		return -1;
	}
	print_line(c);
	if (c->more)
		printf("\n%s\n", c->more);
	return 0;
}

/* ------------------------------------------------------------------------- */
/* From a line to a command                                                  */

static int check_count(const struct io_command *c, const char *name, int n)
{
	if (n >= c->n_min && (c->n_max < 0 || n <= c->n_max))
		return 0;
	fflush(stdout);
	fprintf(stderr, "bad argument count %d to %s, expected ", n, name);
	if (c->n_max < 0)
		fprintf(stderr, "at least %d arguments\n", c->n_min);
	else if (c->n_min == c->n_max)
		fprintf(stderr, "%d arguments\n", c->n_min);
	else
		fprintf(stderr, "between %d and %d arguments\n", c->n_min,
			c->n_max);
	return -1;
}

static int check_state(const struct io_shell *sh, const struct io_command *c,
		       int argc, char **argv)
{
	if (!(c->flags & IO_NO_FILE) && !sh->img) {
		fflush(stdout);
		fprintf(stderr, "no file open, try 'help open'\n");
		return -1;
	}
	if (check_count(c, argv[0], argc - 1) < 0)
		return -1;
	if ((c->flags & IO_WRITES) && sh->settings.read_only) {
		cli_error(sh->cli, NULL, "Block node is read-only");
		return -1;
	}
	return 0;
}

static int run_words(struct io_shell *sh, int argc, char **argv)
{
	const struct io_command *c = find(argv[0]);
	int rc;

	if (!c) {
		fflush(stdout);
		fprintf(stderr, "command \"%s\" not found\n", ESC(argv[0]));
		return -1;
	}
	if (check_state(sh, c, argc, argv) < 0)
		return -1;
	rc = c->run(sh, c, argc, argv);
	if (c->flags & IO_COLLECTS)
		io_queue_collect(sh);
	return rc;
}

/* Words end at spaces, and nothing else has a meaning. */
int io_run_line(struct io_shell *sh, char *line)
{
	size_t n_max = strlen(line) / 2 + 2;
	char **argv = calloc(n_max, sizeof(*argv));
	char *state = NULL;
	int argc = 0, rc = 0;

	if (!argv) {
		cli_error(sh->cli, NULL, "out of memory");
		return -1;
	}
	for (char *word = strtok_r(line, " ", &state); word;
	     word = strtok_r(NULL, " ", &state))
		argv[argc++] = word;
	if (argc > 0)
		rc = run_words(sh, argc, argv);
	free(argv);
	return rc;
}
