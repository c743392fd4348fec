#include "open.h"

#include <stdio.h>
#include <string.h>

int source_open(const struct cli *cli, const struct common *common,
		const struct source *src, struct qcow2_image **out)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_error err;

	gate.mode = common->external.mode;
	gate.allow_dirs = common->external.allow_dirs;
	opts.gate = &gate;
	opts.format = src->format;
	opts.backing_format = common->backing_format;
	opts.flags = src->flags;
	opts.snapshot = src->snapshot;
	if (common->force_share)
		opts.flags |= QCOW2_OPEN_NO_LOCK;
	if (qcow2_open_path(src->path, &opts, out, &err) == 0)
		return 0;
	cli_report(cli, src->path, &err);
	return -1;
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
