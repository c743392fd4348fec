/*
 * qcow2 resize
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "open.h"
#include "size.h"

struct resize_options {
	struct common common;
	enum qcow2_format format; /* DEFAULT: not said */
	enum qcow2_preallocation preallocation;
	bool shrink;
};

static int set_preallocation(const struct option_value *v)
{
	static const char *const names[] = {
		[QCOW2_PREALLOC_OFF] = "off",
		[QCOW2_PREALLOC_METADATA] = "metadata",
		[QCOW2_PREALLOC_FALLOC] = "falloc",
		[QCOW2_PREALLOC_FULL] = "full",
	};

	for (int i = QCOW2_PREALLOC_OFF; i <= QCOW2_PREALLOC_FULL; i++) {
		if (strcmp(v->arg, names[i]) == 0) {
			*(enum qcow2_preallocation *)v->field =
				(enum qcow2_preallocation)i;
			return 0;
		}
	}
	cli_error(v->cli, v->name, "Invalid preallocation mode '%s'",
		  ESC(v->arg));
	return -1;
}

static const struct option_spec resize_table[] = {
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct resize_options, format),
	  "format of the image: qcow2 (the default) or raw" },
	{ "preallocation", 0, "MODE", set_preallocation,
	  offsetof(struct resize_options, preallocation),
	  "allocate the area that the disk grows by: off, metadata (qcow2), "
	  "falloc, full" },
	{ "shrink", 0, NULL, set_flag, offsetof(struct resize_options, shrink),
	  "allow a smaller size; data beyond it is lost" },
	OPTION_QUIET,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_TRUST_REFCOUNTS,
	OPTION_BACKING_FORMAT,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example resize_examples[] = {
	{ "resize disk.qcow2 +10G", "make a disk larger" },
	{ "resize --shrink disk.qcow2 20G",
	  "make it smaller, after its contents were made smaller" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* The new size                                                              */

struct wish {
	int sign; /* 0: absolute */
	uint64_t size;
};

static int take_size(const struct cli *cli, const char *text, struct wish *wish)
{
	struct option_value v = {
		.cli = cli, .name = "SIZE", .arg = text, .field = &wish->size
	};

	wish->sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
	if (wish->sign)
		v.arg++;
	/* A second sign is one too many. */
	if (wish->sign && (*v.arg == '+' || *v.arg == '-')) {
		cli_error(cli, "SIZE", "'%s' is no size", ESC(text));
		return -1;
	}
	return set_size(&v);
}

static int new_size(const struct cli *cli, const char *path,
		    const struct wish *wish, uint64_t now, uint64_t *size)
{
	*size = wish->sign == 0    ? wish->size
		: wish->sign > 0   ? now + wish->size
		: now > wish->size ? now - wish->size
				   : 0;
	if (*size == 0) {
		cli_error(cli, path, "New image size must be positive");
		return -1;
	}
	if (*size <= INT64_MAX)
		return 0;
	cli_error(cli, path, "the size is beyond 8 EiB");
	return -1;
}

static int check_shrink(const struct cli *cli, const struct resize_options *o,
			const char *path, uint64_t now, uint64_t size)
{
	if (size >= now)
		return 0;
	if (o->preallocation != QCOW2_PREALLOC_OFF) {
		cli_error(cli, path,
			  "Preallocation can only be used for "
			  "growing images");
		return -1;
	}
	if (o->shrink)
		return 0;
	cli_error(cli, path,
		  "Use the --shrink option to perform a shrink operation.");
	cli_error(cli, NULL,
		  "warning: Shrinking an image will delete all data beyond "
		  "the shrunken image's end. Before performing such an "
		  "operation, make sure there is no important data there.");
	return -1;
}

/* ------------------------------------------------------------------------- */

static int resize(const struct cli *cli, const struct resize_options *o,
		  const char *path, struct qcow2_image *img, uint64_t size)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	struct qcow2_error err;

	if (o->shrink)
		opts.flags |= QCOW2_RESIZE_SHRINK;
	opts.preallocation = o->preallocation;
	if (qcow2_resize(img, size, &opts, &err) == 0)
		return 0;
	cli_report(cli, path, &err);
	return -1;
}

static int resize_image(const struct cli *cli, const struct resize_options *o,
			const char *path, const struct wish *wish)
{
	struct source src = { path, o->format, QCOW2_OPEN_RDWR, NULL };
	struct qcow2_image *img;
	uint64_t now, size;
	int ret;

	if (source_probe_format(cli, &o->common, &src) < 0 ||
	    source_open(cli, &o->common, &src, &img) < 0)
		return 1;
	now = qcow2_size(img);
	ret = new_size(cli, path, wish, now, &size);
	if (ret == 0)
		ret = check_shrink(cli, o, path, now, size);
	if (ret == 0)
		ret = resize(cli, o, path, img, size);
	ret = source_close(cli, path, img, ret);
	if (ret == 0 && !o->common.quiet)
		printf("Image resized.\n");
	return ret < 0;
}

/* The size comes last and may begin with a minus sign, which is no option. */
static int resize_run(const struct cli *cli, int argc, char **argv)
{
	struct resize_options o = { COMMON_INIT(cli), QCOW2_FORMAT_DEFAULT,
				    QCOW2_PREALLOC_OFF, false };
	const char *size = argc > 2 ? argv[argc - 1] : NULL;
	bool has_size = size &&
			(*size != '-' || (size[1] >= '0' && size[1] <= '9'));
	struct wish wish;
	int status;
	int first = command_begin(cli, &command_resize,
				  has_size ? argc - 1 : argc, argv, &o,
				  &status);

	if (first == 0)
		return status;
	if (!has_size) {
		cli_error(cli, "resize", "missing operand: expected FILE SIZE");
		return 1;
	}
	if (take_size(cli, size, &wish) < 0)
		return 1;
	return resize_image(cli, &o, argv[first], &wish);
}

const struct command command_resize = {
	.name = "resize",
	.summary = "make a disk larger or smaller",
	.operands = "FILE [+|-]SIZE",
	.n_operands_min = 1,
	.n_operands_max = 1,
	.options = resize_table,
	.examples = resize_examples,
	.changes = true,
	.failure = 1,
	.run = resize_run,
};
