/*
 * Opening the images that a command line names.
 */
#ifndef CLI_OPEN_H
#define CLI_OPEN_H

#include <sys/stat.h>

#include "options.h"

struct source {
	const char *path;
	enum qcow2_format format;
	uint32_t flags;       /* QCOW2_OPEN_* besides what options add */
	const char *snapshot; /* id or name; NULL: the active disk */
};

/* Opens @src as the options say.  Returns 0, or -1 after reporting why
 * not. */
int source_open(const struct cli *cli, const struct common *common,
		const struct source *src, struct qcow2_image **out);

/* Opens @src in the same way, but does not report why not. */
int source_try(const struct common *common, const struct source *src,
	       struct qcow2_image **out);

/* Opens as source_open() does, for writing, with a policy QCOW2_DISCARD_*. */
int source_open_rw(const struct cli *cli, const struct common *common,
		   const struct source *src, uint32_t discard,
		   struct qcow2_image **out);

/* Warns that other programs are not kept out of a file that is written to. */
void warn_unlocked(const struct cli *cli, const char *path);
/* Warns when @img is written to and other programs are not kept out. */
void image_warn_unlocked(const struct cli *cli, const char *path,
			 struct qcow2_image *img);

/* Warns when writing guest data makes persistent bitmaps worthless. */
void image_warn_bitmaps(const struct cli *cli, const char *path,
			struct qcow2_image *img);

/* Tells what writing to the image put right in it, before it is closed. */
void source_tell_raised(const struct cli *cli, const char *path,
			struct qcow2_image *img);

/* Tells what writing put right, then closes an image that was written to.  @ret
 * is 0, or -1 when a failure has been reported already.  Returns @ret, or -1
 * after reporting that closing failed. */
int source_close(const struct cli *cli, const char *path,
		 struct qcow2_image *img, int ret);

/*
 * Chooses the format of an image that will be written to, if @src does not say:
 * the library never guesses it.  The format is qcow2.  Under the name of the
 * tool whose command line we understand, the first bytes decide, with that
 * tool's warning for raw images.  Returns 0, or -1 after reporting why not.
 */
int source_probe_format(const struct cli *cli, const struct common *common,
			struct source *src);

/* Returns @name as seen from the directory of the file at @path; allocated,
 * NULL without memory. */
char *path_beside(const char *path, const char *name);

/* Returns whether @path, which may be NULL, is a name of the file @st. */
bool path_is_file(const char *path, const struct stat *st);
/* Returns whether a layer of @img, or a data file that it opened, is @st. */
bool image_reads_file(struct qcow2_image *img, const struct stat *st);

/*
 * Translates -l's argument, "snapshot.id=ID", "snapshot.name=NAME", both, or
 * an id or a name, into what the library opens: an id or name in *snapshot,
 * allocated.  Looks into the image at @src to do so.  Returns 0, or -1 after
 * reporting why not.
 */
int source_find_snapshot(const struct cli *cli, const struct common *common,
			 const struct source *src, const char *param,
			 char **snapshot);

#endif
