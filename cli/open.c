#include "open.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int open_quietly(const struct common *common, const struct source *src,
			uint32_t discard, struct qcow2_image **out,
			struct qcow2_error *err)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	gate.mode = common->external.mode;
	gate.allow_dirs = common->external.allow_dirs;
	opts.gate = &gate;
	opts.format = src->format;
	opts.backing_format = common->backing_format;
	opts.budget.chain_depth = common->max_depth;
	opts.flags = src->flags;
	if (common->trust_refcounts && (src->flags & QCOW2_OPEN_RDWR))
		opts.flags |= QCOW2_OPEN_TRUST_REFCOUNTS;
	opts.snapshot = src->snapshot;
	opts.discard = discard;
	if (common->force_share)
		opts.flags |= QCOW2_OPEN_NO_LOCK;
	return qcow2_open_path(src->path, &opts, out, err);
}

void warn_unlocked(const struct cli *cli, const char *path)
{
	cli_error(cli, path,
		  "warning: the host has no locks for this file: nothing "
		  "keeps other programs from writing to it too");
}

void image_warn_bitmaps(const struct cli *cli, const char *path,
			struct qcow2_image *img)
{
	struct qcow2_info info = QCOW2_INFO_INIT;

	if (qcow2_supports(QCOW2_CAP_BITMAP_TRACKING) ||
	    qcow2_get_info(img, 0, &info, NULL) < 0 || info.n_bitmaps == 0)
		return;
	cli_error(cli, path,
		  "warning: %" PRIu32 " persistent bitmap%s will be invalid "
		  "once data is written: this version does not keep them up to "
		  "date",
		  info.n_bitmaps, info.n_bitmaps == 1 ? "" : "s");
}

void image_warn_unlocked(const struct cli *cli, const char *path,
			 struct qcow2_image *img)
{
	struct qcow2_info info = QCOW2_INFO_INIT;

	if (qcow2_get_info(img, 0, &info, NULL) == 0 && info.unlocked)
		warn_unlocked(cli, path);
}

static int open_image(const struct cli *cli, const struct common *common,
		      const struct source *src, uint32_t discard,
		      struct qcow2_image **out)
{
	struct qcow2_error err;

	if (open_quietly(common, src, discard, out, &err) == 0) {
		if (src->flags & QCOW2_OPEN_RDWR)
			image_warn_unlocked(cli, src->path, *out);
		return 0;
	}
	cli_report(cli, src->path, &err);
	return -1;
}

int source_try(const struct common *common, const struct source *src,
	       struct qcow2_image **out)
{
	return open_quietly(common, src, 0, out, NULL);
}

int source_open(const struct cli *cli, const struct common *common,
		const struct source *src, struct qcow2_image **out)
{
	return open_image(cli, common, src, 0, out);
}

int source_open_rw(const struct cli *cli, const struct common *common,
		   const struct source *src, uint32_t discard,
		   struct qcow2_image **out)
{
	struct source rw = *src;

	rw.flags |= QCOW2_OPEN_RDWR;
	return open_image(cli, common, &rw, discard, out);
}

void source_tell_raised(const struct cli *cli, const char *path,
			struct qcow2_image *img)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };

	if (qcow2_get_info(img, 0, &info, NULL) < 0 || !info.refcounts_raised)
		return;
	cli_error(cli, path,
		  "%" PRIu64 " refcounts were too low: they have "
		  "been raised",
		  info.refcounts_raised);
}

int source_close(const struct cli *cli, const char *path,
		 struct qcow2_image *img, int ret)
{
	struct qcow2_error err;

	source_tell_raised(cli, path, img);
	if (qcow2_close(img, &err) == 0 || ret < 0)
		return ret;
	cli_report(cli, path, &err);
	return -1;
}

int source_probe_format(const struct cli *cli, const struct common *common,
			struct source *src)
{
	struct source probe = { src->path, QCOW2_FORMAT_PROBE,
				QCOW2_OPEN_METADATA_ONLY, NULL };
	struct qcow2_info info = { .struct_size = sizeof(info) };
	struct qcow2_image *img;

	if (src->format != QCOW2_FORMAT_DEFAULT || cli->as->extras)
		return 0;
	if (source_open(cli, common, &probe, &img) < 0)
		return -1;
	if (qcow2_get_info(img, 0, &info, NULL) == 0)
		src->format = info.format;
	qcow2_close(img, NULL);
	if (src->format == QCOW2_FORMAT_RAW)
		fprintf(stderr,
			"WARNING: Image format was not specified for '%s' and "
			"probing guessed raw.\n         Say -f raw, so that no "
			"guess is needed.\n",
			ESC(src->path));
	return 0;
}

char *path_beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash ? (int)(slash + 1 - path) : 0;
	char *joined;

	if (name[0] == '/')
		dir_len = 0;
	if (asprintf(&joined, "%.*s%s", dir_len, path, name) < 0)
		return NULL;
	return joined;
}

bool path_is_file(const char *path, const struct stat *st)
{
	struct stat own;

	if (!path || stat(path, &own) < 0)
		return false;
	if (S_ISBLK(own.st_mode) && S_ISBLK(st->st_mode))
		return own.st_rdev == st->st_rdev;
	return own.st_dev == st->st_dev && own.st_ino == st->st_ino;
}

bool image_reads_file(struct qcow2_image *img, const struct stat *st)
{
	for (uint32_t i = 0; i < qcow2_layer_count(img); i++)
		if (path_is_file(qcow2_layer_filename(img, i), st) ||
		    path_is_file(qcow2_layer_data_filename(img, i), st))
			return true;
	return false;
}
