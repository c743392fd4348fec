/*
 * qcow2 info
 */
#include "info.h"

#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "open.h"

struct info_options {
	struct common common;
	enum qcow2_format format;
	bool backing_chain;
};

static const struct option_spec info_table[] = {
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct info_options, format),
	  "format of the image: qcow2, raw, or probe (the default)" },
	OPTION_FORCE_SHARE,
	OPTION_OUTPUT,
	{ "backing-chain", 0, NULL, set_flag,
	  offsetof(struct info_options, backing_chain),
	  "tell about the backing files too, top first" },
	OPTION_BACKING_FORMAT,
	OPTION_EXTERNAL,
	OPTION_MAX_DEPTH,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example info_examples[] = {
	{ "info disk.qcow2", "what is this image?" },
	{ "info --backing-chain disk.qcow2", "and what lies below it?" },
	{ "info --output json disk.qcow2", "the same for a program" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* Layers                                                                    */

/* A name with a colon before any slash names a protocol to qemu-img, which does
 * not resolve such a name against a directory. */
static char *resolve(const char *path, const char *name)
{
	bool has_protocol = name[strcspn(name, ":/")] == ':';

	return has_protocol ? strdup(name) : path_beside(path, name);
}

static int out_of_memory(const struct cli *cli)
{
	cli_error(cli, NULL, "out of memory");
	return -1;
}

static void layer_release(struct layer *layer)
{
	free(layer->backing_path);
	qcow2_close(layer->img, NULL);
}

/* A damaged LUKS header is no reason to hide everything else. */
static void layer_read_luks(const struct cli *cli, struct layer *layer)
{
	struct qcow2_error err;

	if (layer->info.encryption != QCOW2_ENCRYPTION_LUKS)
		return;
	layer->luks.struct_size = sizeof(layer->luks);
	if (qcow2_get_luks(layer->img, &layer->luks, &err) == 0)
		layer->has_luks = true;
	else
		cli_report(cli, layer->path, &err);
}

static int layer_fill(const struct cli *cli, struct layer *layer)
{
	struct qcow2_error err;

	layer->info.struct_size = sizeof(layer->info);
	if (qcow2_get_info(layer->img, 0, &layer->info, &err) < 0) {
		cli_report(cli, layer->path, &err);
		return -1;
	}
	layer_read_luks(cli, layer);
	if (!layer->info.backing_file)
		return 0;
	layer->backing_path = resolve(layer->path, layer->info.backing_file);
	return layer->backing_path ? 0 : out_of_memory(cli);
}

static int layer_open(const struct cli *cli, const struct common *common,
		      const char *path, enum qcow2_format format,
		      struct layer *layer)
{
	struct source src = { path, format, QCOW2_OPEN_METADATA_ONLY, NULL };

	memset(layer, 0, sizeof(*layer));
	layer->path = path;
	if (source_open(cli, common, &src, &layer->img) < 0)
		return -1;
	if (layer_fill(cli, layer) == 0)
		return 0;
	layer_release(layer);
	return -1;
}

/* ------------------------------------------------------------------------- */
/* One image, or a chain                                                     */

static void print_layer(const struct cli *cli, const struct info_options *o,
			struct json *j, const struct layer *layer, bool first)
{
	if (o->common.output == OUTPUT_JSON) {
		info_print_json(cli, j, layer);
		return;
	}
	if (!first)
		putchar('\n');
	info_print_text(cli, layer);
}

static int info_one(const struct cli *cli, const struct info_options *o,
		    const char *path)
{
	struct layer layer;
	struct json j;

	if (layer_open(cli, &o->common, path, o->format, &layer) < 0)
		return 1;
	json_init(&j, stdout, JSON_PRETTY);
	print_layer(cli, o, &j, &layer, true);
	layer_release(&layer);
	return 0;
}

static int info_layers(const struct cli *cli, const struct info_options *o,
		       struct qcow2_image *chain, struct json *j)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	struct qcow2_error err;
	struct layer layer;

	for (uint32_t i = 0; i < qcow2_layer_count(chain); i++) {
		const char *path = qcow2_layer_filename(chain, i);

		if (qcow2_get_info(chain, i, &info, &err) < 0) {
			cli_report(cli, path, &err);
			return 1;
		}
		if (layer_open(cli, &o->common, path, info.format, &layer) < 0)
			return 1;
		print_layer(cli, o, j, &layer, i == 0);
		layer_release(&layer);
	}
	return 0;
}

/* The whole chain is opened first, so that a broken one prints nothing. */
static int info_chain(const struct cli *cli, const struct info_options *o,
		      const char *path)
{
	struct source src = {
		.path = path,
		.format = o->format,
		.flags = QCOW2_OPEN_METADATA_ONLY | QCOW2_OPEN_METADATA_CHAIN,
	};
	struct qcow2_image *chain;
	struct json j;
	int status;

	if (source_open(cli, &o->common, &src, &chain) < 0)
		return 1;
	json_init(&j, stdout, JSON_PRETTY);
	if (o->common.output == OUTPUT_JSON)
		json_list(&j, NULL);
	status = info_layers(cli, o, chain, &j);
	if (o->common.output == OUTPUT_JSON)
		json_end(&j);
	qcow2_close(chain, NULL);
	return status;
}

static int info_run(const struct cli *cli, int argc, char **argv)
{
	struct info_options o = { COMMON_INIT(cli), QCOW2_FORMAT_PROBE, false };
	int status;
	int first = command_begin(cli, &command_info, argc, argv, &o, &status);

	if (first == 0)
		return status;
	return o.backing_chain ? info_chain(cli, &o, argv[first])
			       : info_one(cli, &o, argv[first]);
}

const struct command command_info = {
	.name = "info",
	.summary = "tell what an image is",
	.operands = "FILE",
	.n_operands_min = 1,
	.n_operands_max = 1,
	.options = info_table,
	.examples = info_examples,
	.failure = 1,
	.run = info_run,
};
