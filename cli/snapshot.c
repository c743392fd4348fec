/*
 * qcow2 snapshot
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "info.h"
#include "open.h"

enum action {
	ACTION_NONE,
	ACTION_LIST,
	ACTION_APPLY,
	ACTION_CREATE,
	ACTION_DELETE,
};

struct choice {
	enum action action;
	const char *name;
};

struct snapshot_options {
	struct common common;
	enum qcow2_format format; /* DEFAULT: not said */
	struct choice choice;
};

static int choose(const struct option_value *v, enum action action)
{
	struct choice *c = v->field;

	if (c->action != ACTION_NONE) {
		cli_error(v->cli, NULL, "Cannot mix '-l', '-a', '-c', '-d'");
		return -1;
	}
	c->action = action;
	c->name = v->arg;
	return 0;
}

static int set_list(const struct option_value *v)
{
	return choose(v, ACTION_LIST);
}

static int set_apply(const struct option_value *v)
{
	return choose(v, ACTION_APPLY);
}

static int set_create(const struct option_value *v)
{
	return choose(v, ACTION_CREATE);
}

static int set_delete(const struct option_value *v)
{
	return choose(v, ACTION_DELETE);
}

static const struct option_spec snapshot_table[] = {
	{ "list", 'l', NULL, set_list,
	  offsetof(struct snapshot_options, choice),
	  "list the snapshots (the default)" },
	{ "create", 'c', "NAME", set_create,
	  offsetof(struct snapshot_options, choice),
	  "keep the disk as it is now" },
	{ "apply", 'a', "SNAPSHOT", set_apply,
	  offsetof(struct snapshot_options, choice),
	  "bring the disk back to the snapshot with this id or name; its "
	  "present contents are lost" },
	{ "delete", 'd', "NAME", set_delete,
	  offsetof(struct snapshot_options, choice),
	  "forget the snapshot with this name" },
	{ "format", 'f', "FMT", set_format,
	  offsetof(struct snapshot_options, format),
	  "format of the image: qcow2 (the default) or raw" },
	OPTION_QUIET,
	OPTION_FORCE_SHARE,
	OPTION_TRUST_REFCOUNTS,
	OPTION_HELP,
	OPTION_OBJECTS,
	OPTION_END,
};

static const struct example snapshot_examples[] = {
	{ "snapshot -c before-upgrade disk.qcow2", "keep the disk as it is" },
	{ "snapshot disk.qcow2", "which snapshots are there?" },
	{ "snapshot -a before-upgrade disk.qcow2", "go back" },
	{ NULL, NULL },
};

/* ------------------------------------------------------------------------- */
/* Listing                                                                   */

/* A table that cannot be read is not an empty one. */
static int check_table(const struct cli *cli, const char *path,
		       const struct layer *layer)
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };
	struct qcow2_error err;

	if (!(layer->info.lacks & QCOW2_LACKS_SNAPSHOT_TABLE) ||
	    qcow2_get_snapshot(layer->img, 0, &s, &err) == 0)
		return 0;
	cli_report(cli, path, &err);
	return 1;
}

static int list(const struct cli *cli, const struct snapshot_options *o,
		const char *path)
{
	struct layer layer = { .info = { .struct_size = sizeof(layer.info) } };
	struct source src = { path, o->format, QCOW2_OPEN_METADATA_ONLY, NULL };
	int status;

	if (src.format == QCOW2_FORMAT_DEFAULT)
		src.format = QCOW2_FORMAT_PROBE;
	if (source_open(cli, &o->common, &src, &layer.img) < 0)
		return 1;
	qcow2_get_info(layer.img, 0, &layer.info, NULL);
	status = check_table(cli, path, &layer);
	if (status == 0)
		info_print_snapshots(&layer);
	qcow2_close(layer.img, NULL);
	return status;
}

/* ------------------------------------------------------------------------- */
/* Changing                                                                  */

static int create(struct qcow2_image *img, const char *name,
		  struct qcow2_error *err)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;

	return qcow2_snapshot_create(img, name, &opts, err);
}

/* Returns the id of the first snapshot called @name; NULL when there is none,
 * or when another one has that id too. */
static const char *id_of(struct qcow2_image *img, const char *name)
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };
	struct qcow2_snapshot_info other = s;
	uint32_t n = 0;

	while (qcow2_get_snapshot(img, n, &s, NULL) == 0 &&
	       strcmp(s.name, name) != 0)
		n++;
	if (qcow2_get_snapshot(img, n, &s, NULL) < 0)
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		if (qcow2_get_snapshot(img, i, &other, NULL) == 0 &&
		    strcmp(other.id, s.id) == 0)
			return NULL;
	return s.id;
}

/* Deletes by name alone, as scripts expect. */
static int delete (struct qcow2_image *img, const char *name,
		   struct qcow2_error *err)
{
	const char *found = id_of(img, name);
	char *id = found ? strdup(found) : NULL;
	int rc;

	if (!id) {
		snprintf(err->message, sizeof(err->message),
			 "snapshot not found");
		err->code = found ? -ENOMEM : -ENOENT;
		return err->code;
	}
	rc = qcow2_snapshot_delete(img, id, err);
	free(id);
	return rc;
}

static int change(struct qcow2_image *img, const struct choice *c,
		  struct qcow2_error *err)
{
	switch (c->action) {
	case ACTION_CREATE:
		return create(img, c->name, err);
	case ACTION_APPLY:
		return qcow2_snapshot_apply(img, c->name, err);
	case ACTION_DELETE:
		return delete (img, c->name, err);
	default:
		return 0;
	}
}

static int report(const struct cli *cli, const struct choice *c,
		  const struct qcow2_error *err)
{
	static const char *const verbs[] = {
		[ACTION_CREATE] = "create",
		[ACTION_APPLY] = "apply",
		[ACTION_DELETE] = "delete",
	};

	cli_error(cli, NULL, "Could not %s snapshot '%s': %s", verbs[c->action],
		  ESC(c->name), err->message);
	cli_hint_for(cli, err);
	return 1;
}

/* Guest data is neither read nor written, so the backing file can stay away. */
static int change_image(const struct cli *cli, const struct snapshot_options *o,
			const char *path)
{
	struct source src = { path, o->format, QCOW2_OPEN_NO_BACKING, NULL };
	struct qcow2_image *img;
	struct qcow2_error err = { .code = 0 };
	int status = 0;

	if (o->common.force_share) {
		cli_error(cli, path,
			  "force-share=on can only be used with "
			  "read-only images");
		return 1;
	}
	if (source_probe_format(cli, &o->common, &src) < 0 ||
	    source_open_rw(cli, &o->common, &src, QCOW2_DISCARD_SNAPSHOT,
			   &img) < 0)
		return 1;
	if (change(img, &o->choice, &err) < 0)
		status = report(cli, &o->choice, &err);
	source_tell_raised(cli, path, img);
	if (qcow2_close(img, &err) < 0 && status == 0) {
		cli_report(cli, path, &err);
		status = 1;
	}
	return status;
}

static int snapshot_run(const struct cli *cli, int argc, char **argv)
{
	struct snapshot_options o = { COMMON_INIT(cli),
				      QCOW2_FORMAT_DEFAULT,
				      { ACTION_NONE, NULL } };
	int status;
	int first =
		command_begin(cli, &command_snapshot, argc, argv, &o, &status);

	if (first == 0)
		return status;
	/* If no action is asked for, qemu-img opens the image for writing and
	 * says nothing. */
	if (o.choice.action == ACTION_LIST ||
	    (o.choice.action == ACTION_NONE && cli->as->extras))
		return list(cli, &o, argv[first]);
	return change_image(cli, &o, argv[first]);
}

const struct command command_snapshot = {
	.name = "snapshot",
	.summary =
		"keep states of a disk inside the image, and go back to them",
	.operands = "FILE",
	.n_operands_min = 1,
	.n_operands_max = 1,
	.options = snapshot_table,
	.examples = snapshot_examples,
	.changes = true,
	.failure = 1,
	.run = snapshot_run,
};
