/*
 * Options of subcommands, described by tables.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli.h"

/* One option on the command line, as its setter sees it. */
struct option_value {
	const struct cli *cli;
	const char *name;   /* as people know it: "-f" or "--format" */
	const char *arg;    /* NULL for options without argument */
	const char *detail; /* the text of the table's row */
	void *field;        /* place of the value */
};

/* Returns 0, or -1 after it said what is wrong. */
typedef int option_set_fn(const struct option_value *v);

struct option_spec {
	const char *name;   /* long, without dashes */
	char letter;        /* 0: none */
	const char *arg;    /* name of the argument; NULL: takes none */
	option_set_fn *set; /* NULL: asks for help */
	size_t field;       /* offset in the subcommand's structure */
	const char *help;   /* NULL at the end of the table; for refused
			     * options, why they are refused */
};

enum output {
	OUTPUT_HUMAN,
	OUTPUT_JSON,
};

#define ALLOW_DIRS_MAX 16

/* The value of --external, for all subcommands alike. */
struct external {
	enum qcow2_external mode;
	/* Borrowed from argv; ends with NULL. */
	const char *allow_dirs[ALLOW_DIRS_MAX + 1];
};

/* The first member of each subcommand's structure of option values. */
struct common {
	enum output output;
	bool quiet;
	bool force_share;
	bool progress;
	int json_progress_fd;             /* -1: none */
	enum qcow2_format backing_format; /* for images that name none */
	struct external external;
	uint32_t max_depth;   /* images in a chain */
	bool trust_refcounts; /* none is too low */
};

/* The library's default protects programs that open what strangers send.
 * People and scripts have chains of hundreds, one image for each backup, and
 * qemu-img reads them; a thousand are opened in a fraction of a second. */
#define MAX_DEPTH_DEFAULT 1024
#define MAX_DEPTH_MAX 65536

#define COMMON_INIT(cli)                                                      \
	{                                                                     \
		OUTPUT_HUMAN, false, false, false, -1,                        \
			(cli)->as->backing_format,                            \
			{ (cli)->as->external, { NULL } }, MAX_DEPTH_DEFAULT, \
			false                                                 \
	}

/*
 * Parses argv by the table.  @values is the subcommand's structure, with its
 * defaults set.  If formats, caches or kinds of output are given more than
 * once, the last is judged and set, and the others are not looked at.  Returns
 * the index of the first operand (options are moved before the operands), 0
 * when help was asked for, -1 after saying what is wrong.
 */
int options_parse(const struct cli *cli, const struct option_spec *options,
		  int argc, char **argv, void *values);

/* Setters; the comment names the type of the field. */
int set_flag(const struct option_value *v);         /* bool, to true */
int set_text(const struct option_value *v);         /* const char * */
int set_size(const struct option_value *v);         /* uint64_t */
int set_format(const struct option_value *v);       /* enum qcow2_format */
int set_known_format(const struct option_value *v); /* the same; no probe */
int set_output(const struct option_value *v);       /* enum output */
int set_external(const struct option_value *v);     /* struct external */
int set_max_depth(const struct option_value *v);    /* uint32_t */
int set_fd(const struct option_value *v);           /* int */
int set_cache(const struct option_value *v); /* const struct cache_mode * */
int set_compress_level(const struct option_value *v); /* uint64_t */
int set_nothing(const struct option_value *v);        /* accepted, no effect */
int set_refuse(const struct option_value *v);         /* not in this version */

/* The ways to cache host files, by qemu-img's names. */
struct cache_mode {
	const char *name;
	bool direct;    /* around the page cache */
	bool no_sync;   /* never flushed */
	bool sync_each; /* every write is durable when it is done */
};

/* Returns NULL when there is none of that name. */
const struct cache_mode *cache_mode_by_name(const char *name);

/* Finds the format called @name; returns false if there is none here. */
bool format_by_name(const char *name, enum qcow2_format *format);
const char *format_name(enum qcow2_format format);

/* clang-format off */
/* Rows that many tables have. */
#define OPTION_HELP \
	{ "help", 'h', NULL, NULL, 0, "say how to use this and exit" }
#define OPTION_OUTPUT \
	{ "output", 0, "human|json", set_output, \
	  offsetof(struct common, output), "how results are printed" }
#define OPTION_QUIET \
	{ "quiet", 'q', NULL, set_flag, offsetof(struct common, quiet), \
	  "print errors only" }
#define OPTION_FORCE_SHARE \
	{ "force-share", 'U', NULL, set_flag, \
	  offsetof(struct common, force_share), \
	  "read although another program has the image open" }
#define OPTION_EXTERNAL \
	{ "external", 0, "none|dir|allow:DIR|any", set_external, \
	  offsetof(struct common, external), \
	  "open these files that an image names: none; those in or below " \
	  "the image's directory; also those below DIR (may be repeated); " \
	  "any" }
#define OPTION_MAX_DEPTH \
	{ "max-depth", 0, "N", set_max_depth, \
	  offsetof(struct common, max_depth), \
	  "open chains of up to N images, the top one included; the " \
	  "default is 1024" }
#define OPTION_TRUST_REFCOUNTS \
	{ "trust-refcounts", 0, NULL, set_flag, \
	  offsetof(struct common, trust_refcounts), \
	  "do not read all metadata before the first change: the caller " \
	  "promises that no refcount is too low; if one is, data is lost" }
#define OPTION_BACKING_FORMAT \
	{ "backing-format", 0, "raw|qcow2|probe", set_format, \
	  offsetof(struct common, backing_format), \
	  "format of a backing file if the image does not say it; probe " \
	  "looks at its first bytes" }
#define OPTION_PROGRESS \
	{ "progress", 'p', NULL, set_flag, \
	  offsetof(struct common, progress), \
	  "print progress as qemu-img does" }
#define OPTION_JSON_PROGRESS \
	{ "json-progress", 0, "FD", set_fd, \
	  offsetof(struct common, json_progress_fd), \
	  "write progress as JSON, one object a line, to this descriptor" }
#define OPTION_REFUSED(name, letter, arg) \
	{ name, letter, arg, set_refuse, 0, "is not in this version" }
#define OPTION_OBJECTS \
	OPTION_REFUSED("object", 0, "DEF"), \
	OPTION_REFUSED("image-opts", 0, NULL)
#define OPTION_END { NULL, 0, NULL, NULL, 0, NULL }
/* clang-format on */

#endif
