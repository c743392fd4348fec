/*
 * Finds the snapshot that -l means.
 */
#include "open.h"

#include <stdlib.h>
#include <string.h>

#include "keyval.h"

/* The fields that must be equal; NULL: anything. */
struct wanted {
	const char *id;
	const char *name;
};

static bool matches(const struct wanted *w, const struct qcow2_snapshot_info *s)
{
	if (w->id && strcmp(w->id, s->id) != 0)
		return false;
	return !w->name || strcmp(w->name, s->name) == 0;
}

/* Returns the id of the first match; allocated, NULL without one. */
static char *find_id(struct qcow2_image *img, const struct wanted *w)
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };
	struct qcow2_info info = { .struct_size = sizeof(info) };

	if (qcow2_get_info(img, 0, &info, NULL) < 0)
		return NULL;
	for (uint32_t i = 0; i < info.n_snapshots; i++)
		if (qcow2_get_snapshot(img, i, &s, NULL) == 0 && matches(w, &s))
			return strdup(s.id);
	return NULL;
}

static int take_key(const struct cli *cli, struct wanted *w,
		    const struct keyval *kv)
{
	if (strcmp(kv->key, "snapshot.id") == 0)
		w->id = kv->value;
	else if (strcmp(kv->key, "snapshot.name") == 0)
		w->name = kv->value;
	else {
		cli_error(cli, "-l",
			  "'%s' is neither snapshot.id nor "
			  "snapshot.name",
			  ESC(kv->key));
		return -1;
	}
	if (kv->value)
		return 0;
	cli_error(cli, "-l", "'%s' needs a value", ESC(kv->key));
	return -1;
}

static int parse_param(const struct cli *cli, char *param, struct wanted *w)
{
	struct keyval kv;

	while (keyval_next(&param, &kv))
		if (take_key(cli, w, &kv) < 0)
			return -1;
	return 0;
}

static int lookup(const struct cli *cli, const struct common *common,
		  const struct source *src, const struct wanted *w,
		  char **snapshot)
{
	struct source look = *src;
	struct qcow2_image *img;

	look.flags |= QCOW2_OPEN_METADATA_ONLY;
	if (source_open(cli, common, &look, &img) < 0)
		return -1;
	*snapshot = find_id(img, w);
	qcow2_close(img, NULL);
	if (*snapshot)
		return 0;
	cli_error(cli, src->path,
		  "no snapshot has the id and the name that "
		  "-l asks for");
	return -1;
}

static int out_of_memory(const struct cli *cli)
{
	cli_error(cli, NULL, "out of memory");
	return -1;
}

int source_find_snapshot(const struct cli *cli, const struct common *common,
			 const struct source *src, const char *param,
			 char **snapshot)
{
	struct wanted w = { NULL, NULL };
	char *copy = strdup(param);
	int ret;

	if (!copy)
		return out_of_memory(cli);
	if (strncmp(param, "snapshot.", 9) != 0) {
		*snapshot = copy;
		return 0;
	}
	ret = parse_param(cli, copy, &w);
	if (ret == 0)
		ret = lookup(cli, common, src, &w, snapshot);
	free(copy);
	return ret;
}
