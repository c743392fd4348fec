/*
 * Every part of the command knows these: the name under which it runs, and how
 * it speaks to people.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>

#include <qcow2.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

struct command;

/*
 * The command behaves a little differently under the names of the tools whose
 * command lines it also understands; all such differences are here.
 */
struct personality {
	const char *name;             /* of the program, in every message */
	enum qcow2_external external; /* files images may open by default */
	/* Format of a backing file where the image does not say. */
	enum qcow2_format backing_format;
	const char *create_format;  /* format that `create` makes unasked */
	bool extras;                /* print more than qemu-img does */
	bool bar;                   /* draw progress on a terminal unasked */
	const char *version;        /* the line of --version, without (...) */
	const struct command *only; /* NULL: the first word is a subcommand */
};

struct cli {
	const struct personality *as;
	const struct command *command; /* the one that runs; NULL before */
};

/*
 * Prints "PROGRAM: SUBJECT: message" on standard error, after the output so
 * far.  @subject is a path or an option and is escaped here; NULL leaves it
 * out.  Other untrusted text in the arguments goes through ESC().
 */
void cli_error(const struct cli *cli, const char *subject, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* Prints advice in a further line below an error or a warning. */
void cli_hint(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Reports what the library said about @subject, with a hint where one
 * helps. */
void cli_report(const struct cli *cli, const char *subject,
		const struct qcow2_error *err);

/* Prints the hint alone, if one helps, after a report in other words. */
void cli_hint_for(const struct cli *cli, const struct qcow2_error *err);

/* Room for every path and every name of a backing file, fully escaped; longer
 * text (a snapshot's name) is cut. */
struct escaped {
	char s[4 * 4096 + 1];
};

const char *escaped_into(struct escaped *e, const char *s);

/* Text safe to print, in an expression; lives until the block ends. */
#define ESC(s) escaped_into(&(struct escaped){ { 0 } }, (s))

#endif
