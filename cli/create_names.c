/*
 * Names of files as images record them.  Here they are paths; to QEMU a colon
 * before the first slash ends the name of a protocol, as in "nbd:..." and
 * "json:{...}".  With "./" before it, it is a path to both.
 */
#include "create.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "open.h"

static bool has_protocol(const char *name)
{
	return name[strcspn(name, ":/")] == ':';
}

/* Nobody gives such a name to a file that does not exist. */
static bool is_known_protocol(const char *name)
{
	static const char *const known[] = {
		"blkdebug",    "blkverify",    "fat",         "file",
		"ftp",         "ftps",         "gluster",     "gluster+rdma",
		"gluster+tcp", "gluster+unix", "host_device", "http",
		"https",       "iscsi",        "iser",        "json",
		"nbd",         "nbd+tcp",      "nbd+unix",    "nbd+vsock",
		"nbds",        "nfs",          "null-aio",    "null-co",
		"nvme",        "rbd",          "sheepdog",    "ssh",
	};
	size_t len = strcspn(name, ":");

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i]) == len &&
		    strncmp(name, known[i], len) == 0)
			return true;
	return false;
}

/* A name that is too long stays: the library says so. */
static void make_path(struct create_value *v, char *room)
{
	if ((size_t)snprintf(room, CREATE_NAME_ROOM, "./%s", v->text) <
	    CREATE_NAME_ROOM)
		v->text = room;
}

/* Returns whether a file of this very name is beside the image. */
static bool is_there(const struct create_plan *plan, const char *name)
{
	char *path = path_beside(plan->path, name);
	bool there = path && access(path, F_OK) == 0;

	free(path);
	return there;
}

/* A name that is read as a file here must be a file to QEMU as well. */
static bool is_path(const struct create_plan *plan, const char *name,
		    bool may_be_missing)
{
	return !may_be_missing || !is_known_protocol(name) ||
	       is_there(plan, name);
}

void create_record_paths(struct create_plan *plan, bool may_be_missing)
{
	struct create_value *backing = &plan->values[KEY_BACKING_FILE];
	struct create_value *data = &plan->values[KEY_DATA_FILE];

	if (backing->text && has_protocol(backing->text) &&
	    is_path(plan, backing->text, may_be_missing))
		make_path(backing, plan->backing_name);
	if (data->text && has_protocol(data->text))
		make_path(data, plan->data_name);
}
