/*
 * The setters: they read the arguments of options.
 */
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

int set_flag(const struct option_value *v)
{
	*(bool *)v->field = true;
	return 0;
}

int set_text(const struct option_value *v)
{
	*(const char **)v->field = v->arg;
	return 0;
}

int set_nothing(const struct option_value *v)
{
	(void)v;
	return 0;
}

int set_refuse(const struct option_value *v)
{
	cli_error(v->cli, v->name, "this option %s", v->detail);
	return -1;
}

int set_size(const struct option_value *v)
{
	int ret = size_parse(v->arg, v->field);

	if (ret == 0 && *(uint64_t *)v->field <= INT64_MAX)
		return 0;
	if (ret == -EINVAL)
		cli_error(v->cli, v->name,
			  "'%s' is no size; a number may be "
			  "followed by one of k M G T P E",
			  ESC(v->arg));
	else
		cli_error(v->cli, v->name,
			  "'%s' is too large; the limit is "
			  "8 EiB - 1",
			  ESC(v->arg));
	return -1;
}

static const char *const format_names[] = {
	[QCOW2_FORMAT_QCOW2] = "qcow2",
	[QCOW2_FORMAT_RAW] = "raw",
};

bool format_by_name(const char *name, enum qcow2_format *format)
{
	for (int i = QCOW2_FORMAT_QCOW2; i <= QCOW2_FORMAT_RAW; i++) {
		if (strcmp(name, format_names[i]) == 0) {
			*format = (enum qcow2_format)i;
			return true;
		}
	}
	return false;
}

const char *format_name(enum qcow2_format format)
{
	return format_names[format == QCOW2_FORMAT_RAW ? QCOW2_FORMAT_RAW
						       : QCOW2_FORMAT_QCOW2];
}

int set_known_format(const struct option_value *v)
{
	if (format_by_name(v->arg, v->field))
		return 0;
	cli_error(v->cli, v->name,
		  "unknown format '%s'; this version knows "
		  "qcow2 and raw",
		  ESC(v->arg));
	return -1;
}

int set_format(const struct option_value *v)
{
	if (strcmp(v->arg, "probe") != 0)
		return set_known_format(v);
	*(enum qcow2_format *)v->field = QCOW2_FORMAT_PROBE;
	return 0;
}

int set_output(const struct option_value *v)
{
	enum output *output = v->field;

	if (strcmp(v->arg, "human") == 0)
		*output = OUTPUT_HUMAN;
	else if (strcmp(v->arg, "json") == 0)
		*output = OUTPUT_JSON;
	else {
		cli_error(v->cli, v->name, "'%s' is neither human nor json",
			  ESC(v->arg));
		return -1;
	}
	return 0;
}

static int allow_dir(const struct option_value *v, const char *dir)
{
	struct external *e = v->field;
	size_t n = 0;

	while (e->allow_dirs[n])
		n++;
	if (n == ALLOW_DIRS_MAX) {
		cli_error(v->cli, v->name,
			  "no more than %d directories can "
			  "be allowed",
			  ALLOW_DIRS_MAX);
		return -1;
	}
	e->allow_dirs[n] = dir;
	e->mode = QCOW2_EXTERNAL_ALLOW;
	return 0;
}

int set_external(const struct option_value *v)
{
	static const struct {
		const char *name;
		enum qcow2_external mode;
	} modes[] = {
		{ "none", QCOW2_EXTERNAL_NONE },
		{ "dir", QCOW2_EXTERNAL_DIR },
		{ "any", QCOW2_EXTERNAL_ANY },
	};
	struct external *e = v->field;

	if (strncmp(v->arg, "allow:", 6) == 0 && v->arg[6])
		return allow_dir(v, v->arg + 6);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(v->arg, modes[i].name) == 0) {
			e->mode = modes[i].mode;
			return 0;
		}
	}
	cli_error(v->cli, v->name, "'%s' is none of none, dir, allow:DIR, any",
		  ESC(v->arg));
	return -1;
}

int set_max_depth(const struct option_value *v)
{
	uint64_t depth;

	if (size_parse(v->arg, &depth) < 0 || depth < 1 ||
	    depth > MAX_DEPTH_MAX) {
		cli_error(v->cli, v->name, "'%s' is no number from 1 to %d",
			  ESC(v->arg), MAX_DEPTH_MAX);
		return -1;
	}
	*(uint32_t *)v->field = (uint32_t)depth;
	return 0;
}

int set_fd(const struct option_value *v)
{
	char *end;
	long fd;

	errno = 0;
	fd = strtol(v->arg, &end, 10);
	if (errno || end == v->arg || *end || fd < 0 || fd > INT32_MAX ||
	    fcntl((int)fd, F_GETFD) < 0) {
		cli_error(v->cli, v->name, "'%s' is no open file descriptor",
			  ESC(v->arg));
		return -1;
	}
	*(int *)v->field = (int)fd;
	return 0;
}

const struct cache_mode *cache_mode_by_name(const char *name)
{
	static const struct cache_mode modes[] = {
		{ .name = "none", .direct = true },
		{ .name = "writeback" },
		{ .name = "writethrough", .sync_each = true },
		{ .name = "directsync", .direct = true, .sync_each = true },
		{ .name = "unsafe", .no_sync = true },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(name, modes[i].name) == 0)
			return &modes[i];
	return NULL;
}

int set_cache(const struct option_value *v)
{
	const struct cache_mode *mode = cache_mode_by_name(v->arg);

	if (mode) {
		*(const struct cache_mode **)v->field = mode;
		return 0;
	}
	cli_error(v->cli, v->name,
		  "'%s' is none of none, writeback, "
		  "writethrough, directsync, unsafe",
		  ESC(v->arg));
	return -1;
}

int set_compress_level(const struct option_value *v)
{
	static const char *const fast[] = { "fast", "fast1", "fast2", "fast3" };
	uint64_t *level = v->field;
	char *end;

	for (unsigned i = 0; i < sizeof(fast) / sizeof(fast[0]); i++) {
		if (strcmp(v->arg, fast[i]) == 0) {
			*level = QCOW2_LEVEL_FAST(i ? i : 1);
			return 0;
		}
	}
	errno = 0;
	*level = strtoul(v->arg, &end, 10);
	if (errno == 0 && *end == '\0' && v->arg[0] >= '0' &&
	    v->arg[0] <= '9' && *level >= 1 && *level <= 19)
		return 0;
	cli_error(v->cli, v->name,
		  "'%s' is neither 1 to 19 nor fast, fast2, "
		  "fast3",
		  ESC(v->arg));
	return -1;
}
