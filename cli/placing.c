#include "placing.h"

#include <stdio.h>

static const char *const hows[] = {
	[QCOW2_PLACED_NEW] = "new",
	[QCOW2_PLACED_REPLACED] = "replaced",
	[QCOW2_PLACED_IN_PLACE] = "in-place",
};

static const struct reason {
	const char *name;
	const char *text;
} reasons[] = {
	[QCOW2_IN_PLACE_ASKED] = { "asked", NULL },
	[QCOW2_IN_PLACE_DEVICE] = { "block-device", NULL },
	[QCOW2_IN_PLACE_DESCRIPTOR] = { "descriptor", NULL },
	[QCOW2_IN_PLACE_MOUNT] = { "mount-point", "it is a mount point" },
	[QCOW2_IN_PLACE_DIRECTORY] = { "directory",
				       "its directory does not let it be "
				       "replaced" },
	[QCOW2_IN_PLACE_LINKS] = { "hard-links", "it has other names" },
	[QCOW2_IN_PLACE_ATTRIBUTES] = { "attributes",
					"a new file could not have its owner, "
					"mode and attributes" },
	[QCOW2_IN_PLACE_ROOM] = { "room", "there is no room for two files" },
};

/* Returns NULL if this program has no words for what the library says. */
static const struct reason *reason_of(const struct placing *p)
{
	uint32_t r = p->where.reason;

	return r < sizeof(reasons) / sizeof(reasons[0]) && reasons[r].name
		       ? &reasons[r]
		       : NULL;
}

int placing_check(const struct cli *cli, const struct placing *p)
{
	if (!p->in_place || !p->replace)
		return 0;
	cli_error(cli, "--replace", "this and --in-place exclude each other");
	return -1;
}

void placing_fill(struct placing *p, struct qcow2_convert_opts *opts)
{
	if (p->in_place)
		opts->flags |= QCOW2_CONVERT_IN_PLACE;
	if (p->replace)
		opts->flags |= QCOW2_CONVERT_REPLACE;
	opts->placement = &p->where;
}

void placing_json(struct json *j, const struct placing *p)
{
	const struct reason *reason = reason_of(p);
	uint32_t how = p->where.how;

	if (how < sizeof(hows) / sizeof(hows[0]) && hows[how])
		json_string(j, "written", hows[how]);
	if (reason)
		json_string(j, "reason", reason->name);
}

void placing_note(const struct cli *cli, const struct common *common,
		  const struct placing *p, const char *path)
{
	const struct reason *reason = reason_of(p);

	if (cli->as->extras && !common->quiet && reason && reason->text)
		cli_error(cli, path, "was written in place: %s", reason->text);
}

void placing_note_failure(const struct cli *cli, const struct placing *p)
{
	if (p->where.how == QCOW2_PLACED_IN_PLACE)
		cli_hint(cli, "the target is written in place: what it "
			      "held before may be lost, and the new contents "
			      "are not complete");
}
