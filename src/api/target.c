#include "api/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "store/publish.h"

static size_t dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

char *target_path_beside(const char *image_path, const char *name)
{
	size_t dir = name[0] == '/' ? 0 : dir_len(image_path);
	size_t name_len = strlen(name);
	char *path = malloc(dir + name_len + 1);

	if (!path)
		return NULL;
	memcpy(path, image_path, dir);
	memcpy(path + dir, name, name_len + 1);
	return path;
}

int target_check_backing(const struct publish *file, const char *image_path,
			 const struct qcow2_create_opts *opts,
			 struct qcow2_error *err)
{
	const char *name = opts->backing_file;
	CLEANUP_FREE char *path = NULL;

	if (!name)
		return 0;
	path = target_path_beside(image_path, name);
	if (!path)
		return error_nomem(err, "the path of the backing file",
				   strlen(image_path) + strlen(name));
	if (!publish_leads_to(file, path))
		return 0;
	return error_set(err, -EINVAL,
			 "backing_file %s is the very file that is to be made",
			 TEXT(name, strlen(name)));
}

int target_check_data(const struct publish *image, const char *path,
		      struct qcow2_error *err)
{
	if (!publish_leads_to(image, path))
		return 0;
	return error_set(err, -EINVAL, "data_file is the image itself");
}
