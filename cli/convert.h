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

/* Returns the first option given that only qcow2 has, or NULL. */
const char *convert_target_option(const struct convert_target *t);

/* The sources of a conversion. */
struct convert_sources {
	char **paths;
	int n;
	enum qcow2_format format;
	uint32_t flags;              /* QCOW2_OPEN_* */
	const char *snapshot;        /* as -l has it, or NULL */
	struct qcow2_image **images; /* from here on: set by open() */
	struct qcow2_image *whole;   /* all of them; one of images, or its
					 * own */
};

/* Returns 0, or 1 after saying what is wrong; the caller must close @s either
 * way.  Refuses a source that reads from @target. */
int convert_sources_open(const struct cli *cli, const struct common *common,
			 struct convert_sources *s, const char *target);
void convert_sources_close(struct convert_sources *s);

/* Returns 1 after saying so if a source reads @target, which would be lost,
 * else 0. */
int convert_check_distinct(const struct cli *cli,
			   const struct convert_sources *s, const char *target);

/* Makes the image at @path of what the sources read as.  Returns the library's
 * result, which @err then explains, or 1 after saying what is wrong. */
int convert_qcow2(const struct cli *cli, const struct common *common,
		  struct convert_target *t, const struct convert_sources *s,
		  const char *path, struct qcow2_convert_opts *opts,
		  struct qcow2_error *err);

/* Accepts a size among the target's options, as qemu-img does, but the source's
 * counts.  Says so if they differ. */
void convert_note_size(const struct cli *cli, const struct common *common,
		       const struct create_plan *plan, struct qcow2_image *img);

/* The target of -n. */
struct convert_existing {
	const char *path;
	enum qcow2_format format;
	bool is_zero;
};

/* Returns as convert_qcow2() does. */
int convert_existing(const struct cli *cli, const struct common *common,
		     const struct convert_target *t,
		     const struct convert_existing *e, struct qcow2_image *img,
		     struct qcow2_convert_opts *opts, struct qcow2_error *err);

/* Opens the backing file of @plan, as an image at plan->path will find it; sets
 * NULL when there is none.  Returns 0, or 1 after saying what is wrong. */
int convert_open_backing(const struct cli *cli, const struct common *common,
			 const struct create_plan *plan,
			 struct qcow2_image **out);

#endif
