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

/* The same where it does not matter why not. */
int source_try(const struct common *common, const struct source *src,
	       struct qcow2_image **out);

/* As source_open() for writing, with a discard policy, QCOW2_DISCARD_*. */
int source_open_rw(const struct cli *cli, const struct common *common,
		   const struct source *src, uint32_t discard,
		   struct qcow2_image **out);

/* That other programs are not kept out of what is written to. */
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

/* Closes an image that was written to, and tells of that before.  @ret is 0, or
 * -1 when a failure has been reported already; -1 as well when closing fails,
 * which is reported. */
int source_close(const struct cli *cli, const char *path,
		 struct qcow2_image *img, int ret);

/*
 * The format of an image that will be written to, where @src does not say: the
 * library never guesses it.  It is qcow2; under the name of the tool whose
 * command line we understand, the first bytes decide, with its warning for raw
 * images.  Returns 0, or -1 after reporting why not.
 */
int source_probe_format(const struct cli *cli, const struct common *common,
			struct source *src);

/* @name as seen from the directory of the file at @path; allocated, NULL
 * without memory. */
char *path_beside(const char *path, const char *name);

/* Whether @path, which may be NULL, is a name of the file @st. */
bool path_is_file(const char *path, const struct stat *st);
/* Whether a layer of @img, or a data file that it opened, is the file @st. */
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
