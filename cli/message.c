/*
 * Messages for people, on standard error.
 */
#include "command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *escaped_into(struct escaped *e, const char *s)
{
	qcow2_escape(e->s, sizeof(e->s), s, strlen(s));
	return e->s;
}

void cli_error(const struct cli *cli, const char *subject, const char *fmt, ...)
{
	va_list args;

	fflush(stdout); /* both may be the same terminal or log */
	fprintf(stderr, "%s: ", cli->as->name);
	if (subject && *subject)
		fprintf(stderr, "%s: ", ESC(subject));
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

void cli_hint(const struct cli *cli, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s: hint: ", cli->as->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

struct hint {
	uint32_t reason;    /* QCOW2_REASON_* */
	const char *option; /* one that the command must have */
	const char *text;
};

/* A hint goes by the reason: failures that need different advice share an errno
 * value. */
static const struct hint hints[] = {
	{ QCOW2_REASON_REFERENCE, "external",
	  "to open a file that an image names, say --external=allow:DIR for "
	  "its directory, or --external=any" },
	{ QCOW2_REASON_BACKING_FORMAT, "backing-format",
	  "--backing-format FORMAT names it" },
	{ QCOW2_REASON_LOCKED, "force-share",
	  "with -U, what is only read is read although another program has it "
	  "open; what it changes meanwhile may be torn" },
};

static bool has_option(const struct cli *cli, const char *name)
{
	const struct option_spec *row = cli->command ? cli->command->options
						     : NULL;

	for (; row && row->help; row++)
		if (row->name && strcmp(row->name, name) == 0)
			return true;
	return false;
}

/* `check` itself needs no such advice. */
static bool wants_repair(const struct cli *cli, const struct qcow2_error *err)
{
	return qcow2_defect_severity(err->defect) ==
		       QCOW2_SEVERITY_CORRUPTION &&
	       !has_option(cli, "repair");
}

static const char *hint_for(const struct cli *cli,
			    const struct qcow2_error *err)
{
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].reason == err->reason &&
		    has_option(cli, hints[i].option))
			return hints[i].text;
	if (wants_repair(cli, err))
		return "the image is damaged: 'check' lists how, and "
		       "'check -r all' repairs what can be repaired";
	return NULL;
}

void cli_hint_for(const struct cli *cli, const struct qcow2_error *err)
{
	const char *hint = hint_for(cli, err);

	if (hint)
		cli_hint(cli, "%s", hint);
}

/* The library names the file in some messages, and then it is not said
 * twice. */
static bool starts_with_subject(const char *message, const char *subject)
{
	const char *escaped = ESC(subject);
	size_t len = strlen(escaped);

	return strncmp(message, escaped, len) == 0 &&
	       (message[len] == ':' || message[len] == ' ');
}

void cli_report(const struct cli *cli, const char *subject,
		const struct qcow2_error *err)
{
	if (subject && starts_with_subject(err->message, subject))
		subject = NULL;
	cli_error(cli, subject, "%s", err->message);
	cli_hint_for(cli, err);
}
