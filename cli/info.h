/*
 * The facts that `info` has on one layer, and its two ways to print them.
 */
#ifndef CLI_INFO_H
#define CLI_INFO_H

#include "cli.h"
#include "json.h"

struct layer {
	struct qcow2_image *img;
	struct qcow2_info info;
	const char *path; /* as it was opened */
	/* The place where the backing file is looked for; NULL without one.  It
	 * equals info.backing_file if nothing had to be resolved. */
	char *backing_path;
	bool has_luks; /* `luks` is filled */
	struct qcow2_luks_info luks;
};

void info_print_text(const struct cli *cli, const struct layer *layer);
/* Prints a whole object, at the top or as an item of the open list. */
void info_print_json(const struct cli *cli, struct json *j,
		     const struct layer *layer);

/* Says on standard error what cannot be read of the image, if anything. */
void info_warn_incomplete(const struct cli *cli, const struct layer *layer);

/* Prints the members that are particular to qcow2, for both. */
void info_print_specific(struct json *j, const struct layer *layer);

/* Prints the same for people, below a heading. */
void info_print_outline(const struct layer *layer);

/* Prints the table of snapshots, or nothing when there are none. */
void info_print_snapshots(const struct layer *layer);

/* Returns the name of part @i of those that the image lacks; NULL behind the
 * last. */
const char *info_lacked(const struct qcow2_info *info, unsigned i);

/* Calls @print for every snapshot; stops and returns at the first that cannot
 * be read. */
void info_each_snapshot(const struct layer *layer, void *opaque,
			void (*print)(void *opaque,
				      const struct qcow2_snapshot_info *s));

#endif
