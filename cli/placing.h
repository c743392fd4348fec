/*
 * The ways in which the file that a command makes gets to its place.
 */
#ifndef CLI_PLACING_H
#define CLI_PLACING_H

#include "json.h"
#include "options.h"

struct placing {
	bool in_place;
	bool replace;
	struct qcow2_placement where; /* as the library says */
};

#define OPTION_IN_PLACE(type, field)                                           \
	{                                                                      \
		"in-place", 0, NULL, set_flag, offsetof(type, field.in_place), \
			"write into a file that is there rather than replace " \
			"it when the new "                                     \
			"one is complete"                                      \
	}
#define OPTION_REPLACE(type, field)                                          \
	{                                                                    \
		"replace", 0, NULL, set_flag, offsetof(type, field.replace), \
			"replace a file that is there, even if that loses "  \
			"something else, or fail"                            \
	}

/* Returns 0, or -1 after saying what is wrong. */
int placing_check(const struct cli *cli, const struct placing *p);

/* Fills @opts with what is asked for and the place for the answer. */
void placing_fill(struct placing *p, struct qcow2_convert_opts *opts);

/* Writes members of the object that tells what was made. */
void placing_json(struct json *j, const struct placing *p);

/* Says so if a file was written in place unasked. */
void placing_note(const struct cli *cli, const struct common *common,
		  const struct placing *p, const char *path);

/* Says after a failure of the work if the old contents may be lost. */
void placing_note_failure(const struct cli *cli, const struct placing *p);

#endif
