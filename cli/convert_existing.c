/*
 * qcow2 convert -n: into a target that is there.
 */
#include "convert.h"

#include <sys/stat.h>

#include "open.h"

static bool is_same(const char *a, const char *b)
{
	struct stat sa, sb;

	return a && b && stat(a, &sa) == 0 && stat(b, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* -B must name the backing file that the target has. */
static int check_backing(const struct cli *cli,
			 const struct convert_existing *e,
			 struct qcow2_image *target,
			 struct qcow2_image *backing)
{
	if (!backing || is_same(qcow2_layer_filename(target, 1),
				qcow2_layer_filename(backing, 0)))
		return 0;
	cli_error(cli, "-B", "this is not the backing file of %s",
		  ESC(e->path));
	return 1;
}

/*
 * Opens the file that -B names, to leave out what the source takes from it.
 * Without -F, its format is the one that the target records.  A target without
 * a backing file gets everything.
 */
static int open_backing(const struct cli *cli, const struct common *common,
			const struct convert_target *t,
			const struct convert_existing *e,
			struct qcow2_image *target, struct qcow2_image **out)
{
	struct create_plan plan = { .path = e->path };
	struct qcow2_info info = QCOW2_INFO_INIT;

	*out = NULL;
	if (!t->backing_file || qcow2_layer_count(target) < 2)
		return 0;
	if (qcow2_get_info(target, 1, &info, NULL) < 0)
		return 0;
	plan.values[KEY_BACKING_FILE].text = t->backing_file;
	plan.values[KEY_BACKING_FMT].text =
		t->backing_format ? t->backing_format
				  : format_name((enum qcow2_format)info.format);
	return convert_open_backing(cli, common, &plan, out);
}

static int fill(const struct cli *cli, const struct common *common,
		const struct convert_target *t,
		const struct convert_existing *e, struct qcow2_image *img,
		struct qcow2_image *target, struct qcow2_convert_opts *opts,
		struct qcow2_error *err)
{
	int ret = open_backing(cli, common, t, e, target, &opts->backing);

	if (ret == 0)
		ret = check_backing(cli, e, target, opts->backing);
	if (ret == 0)
		ret = qcow2_convert_into(img, target, opts, err);
	qcow2_close(opts->backing, NULL);
	opts->backing = NULL;
	return ret;
}

int convert_existing(const struct cli *cli, const struct common *common,
		     const struct convert_target *t,
		     const struct convert_existing *e, struct qcow2_image *img,
		     struct qcow2_convert_opts *opts, struct qcow2_error *err)
{
	struct source dst = { e->path, e->format, QCOW2_OPEN_RDWR, NULL };
	/* -U is for the files that are read. */
	struct common writing = *common;
	struct qcow2_image *target;
	int ret, closed;

	writing.force_share = false;
	if (opts->flags & QCOW2_CONVERT_DIRECT)
		dst.flags |= QCOW2_OPEN_DIRECT;
	opts->flags &= ~QCOW2_CONVERT_DIRECT;
	/* Closing would flush what was left out at the end. */
	if (opts->flags & QCOW2_CONVERT_NO_SYNC)
		dst.flags |= QCOW2_OPEN_NO_FLUSH;
	if (e->is_zero)
		opts->flags |= QCOW2_CONVERT_TARGET_IS_ZERO;
	if (t->compress)
		opts->flags |= QCOW2_CONVERT_COMPRESS;
	opts->compress_level = (uint32_t)t->level;
	if (source_open(cli, &writing, &dst, &target) < 0)
		return 1;
	image_warn_bitmaps(cli, e->path, target);
	ret = fill(cli, common, t, e, img, target, opts, err);
	source_tell_raised(cli, e->path, target);
	closed = qcow2_close(target, ret == 0 ? err : NULL);
	return ret ? ret : closed;
}
