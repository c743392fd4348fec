/*
 * The backing file of an image that is about to be made.  It may be in use: its
 * size and what it refers to are looked at without a lock.
 */
#include "create.h"

#include <stdlib.h>
#include <string.h>

#include "open.h"

static int refuse(const struct cli *cli, const struct create_plan *plan,
		  const char *why)
{
	cli_error(cli, plan->path, "%s", why);
	return -1;
}

static int refuse_itself(const struct cli *cli, const struct create_plan *plan)
{
	return refuse(cli, plan, "the image cannot be its own backing file");
}

/* Suggests a format by the first bytes, if the file can be read. */
static void hint_format(const struct cli *cli, const char *path)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_image *img;

	opts.format = QCOW2_FORMAT_PROBE;
	opts.flags = QCOW2_OPEN_METADATA_ONLY | QCOW2_OPEN_NO_LOCK;
	if (qcow2_open_path(path, &opts, &img, NULL) < 0)
		return;
	if (qcow2_get_info(img, 0, &info, NULL) == 0)
		cli_hint(cli, "the file looks like %s: -F %s",
			 format_name(info.format), format_name(info.format));
	qcow2_close(img, NULL);
}

static int take_format(const struct cli *cli, const struct create_plan *plan,
		       struct source *src)
{
	const char *format = plan->values[KEY_BACKING_FMT].text;

	if (!format) {
		refuse(cli, plan, "a backing file needs its format with it");
		hint_format(cli, src->path);
		return -1;
	}
	if (format_by_name(format, &src->format))
		return 0;
	cli_error(cli, plan->path, "unknown backing format '%s'", ESC(format));
	return -1;
}

/* The files of the image, if they are there: they will be replaced, or would be
 * below themselves. */
struct victims {
	struct stat st[2]; /* image and data file */
	int n;
};

static void victims_add(struct victims *v, const char *path)
{
	if (path && stat(path, &v->st[v->n]) == 0)
		v->n++;
}

static bool victims_have(const struct victims *v, const char *path)
{
	for (int i = 0; i < v->n; i++)
		if (path_is_file(path, &v->st[i]))
			return true;
	return false;
}

static bool layer_has(const struct victims *v, struct qcow2_image *img,
		      uint32_t depth)
{
	const char *file = qcow2_layer_filename(img, depth);
	struct qcow2_info info = QCOW2_INFO_INIT;
	char *data;
	bool has;

	if (victims_have(v, file))
		return true;
	if (qcow2_get_info(img, depth, &info, NULL) < 0 || !info.data_file)
		return false;
	data = path_beside(file, info.data_file);
	has = data && victims_have(v, data);
	free(data);
	return has;
}

static int check_chain(const struct cli *cli, const struct create_plan *plan,
		       const struct victims *v, struct qcow2_image *img)
{
	for (uint32_t i = 0; i < qcow2_layer_count(img); i++)
		if (layer_has(v, img, i))
			return refuse(
				cli, plan,
				"the backing file reads from this very file");
	return 0;
}

/* The backing file need not exist: this looks at it as far as it does. */
static int look_unsafely(const struct cli *cli, const struct common *common,
			 struct create_plan *plan, struct source *src,
			 const struct victims *v)
{
	const char *format = plan->values[KEY_BACKING_FMT].text;
	struct qcow2_image *img;
	int ret;

	if (!v->n)
		return 0;
	if (!format || !format_by_name(format, &src->format))
		src->format = QCOW2_FORMAT_PROBE;
	if (source_try(common, src, &img) < 0)
		return 0;
	ret = check_chain(cli, plan, v, img);
	qcow2_close(img, NULL);
	return ret;
}

/*
 * A target that is not there yet is in no chain, and then a look at the backing
 * file alone is enough.  A target that is there would be lost.
 */
static int look_at(const struct cli *cli, const struct common *common,
		   struct create_plan *plan, const char *path, bool unsafe,
		   const struct victims *v)
{
	struct source src = {
		.path = path,
		.flags = QCOW2_OPEN_METADATA_ONLY | QCOW2_OPEN_NO_LOCK,
	};
	struct qcow2_image *img;
	int ret;

	if (victims_have(v, path))
		return refuse_itself(cli, plan);
	if (v->n)
		src.flags |= QCOW2_OPEN_METADATA_CHAIN;
	if (unsafe)
		return look_unsafely(cli, common, plan, &src, v);
	if (take_format(cli, plan, &src) < 0 ||
	    source_open(cli, common, &src, &img) < 0)
		return -1;
	ret = check_chain(cli, plan, v, img);
	if (ret == 0 && !plan->values[KEY_SIZE].text)
		create_set_size(plan, qcow2_size(img));
	qcow2_close(img, NULL);
	return ret;
}

/* Both paths count from the directory of the new image. */
static int look_beside(const struct cli *cli, const struct common *common,
		       struct create_plan *plan, bool unsafe)
{
	const char *data_file = plan->values[KEY_DATA_FILE].text;
	char *path =
		path_beside(plan->path, plan->values[KEY_BACKING_FILE].text);
	char *data = data_file ? path_beside(plan->path, data_file) : NULL;
	struct victims v = { .n = 0 };
	int ret = -1;

	victims_add(&v, plan->path);
	victims_add(&v, data);
	if (path && (data || !data_file))
		ret = look_at(cli, common, plan, path, unsafe, &v);
	else
		refuse(cli, plan, "out of memory");
	free(path);
	free(data);
	return ret;
}

int create_check_backing(const struct cli *cli, const struct common *common,
			 struct create_plan *plan, bool unsafe)
{
	const char *name = plan->values[KEY_BACKING_FILE].text;

	if (!name)
		return 0;
	if (!*name)
		return refuse(cli, plan,
			      "the name of the backing file is empty");
	if (strcmp(name, plan->path) == 0)
		return refuse_itself(cli, plan);
	return look_beside(cli, common, plan, unsafe);
}
