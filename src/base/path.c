#include "base/path.h"

#include <stdlib.h>

char *path_dir(const char *path)
{
	size_t len = path_dir_len(path);

	return len ? strndup(path, len) : strdup(".");
}

char *path_join(const char *from, const char *name)
{
	size_t dir = name[0] == '/' ? 0 : path_dir_len(from);
	size_t name_size = strlen(name) + 1;
	char *path = malloc(dir + name_size);

	if (!path)
		return NULL;
	memcpy(path, from, dir);
	memcpy(path + dir, name, name_size);
	return path;
}
