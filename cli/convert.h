/*
 * `convert` into qcow2.
 */
#ifndef CLI_CONVERT_H
#define CLI_CONVERT_H

#include "create.h"
#include "options.h"

struct convert_target {
	struct create_lists lists;
	const char *backing_file;
	const char *backing_format;
	uint64_t level; /* of compression; 0: the usual */
	bool compress;
};

/* A level of compression; uint64_t. */
int convert_set_level(const struct option_value *v);

/* True when anything is set that only qcow2 has; the first option's name. */
const char *convert_target_option(const struct convert_target *t);

/* Makes the image at @path of what @img reads as.  Returns what the library
 * did, which is then explained in @err; 1 after saying what is wrong. */
int convert_qcow2(const struct cli *cli, const struct common *common,
		  struct convert_target *t, struct qcow2_image *img,
		  const char *path, struct qcow2_convert_opts *opts,
		  struct qcow2_error *err);

#endif
