#include "ops/apart.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/path.h"
#include "base/text.h"
#include "chain/disk.h"
#include "store/publish.h"
#include "store/store.h"

static int apart_refuse(const char *name, const char *what,
			struct qcow2_error *err)
{
	return error_set(err, -EINVAL, "%s: %s reads from this very file",
			 TEXT(name, strlen(name)), what);
}

int apart_check_publish(const struct publish *target, const struct disk *d,
			const char *what, struct qcow2_error *err)
{
	struct qcow2_store *old = publish_old(target);

	if (!d || !old || !disk_reads(d, old))
		return 0;
	return apart_refuse(store_name(old), what, err);
}

int apart_check_disk(const struct disk *target, const struct disk *d,
		     const char *what, struct qcow2_error *err)
{
	const char *name = disk_layer_filename(target, 0);

	return disk_reads_top(d, target) ? apart_refuse(name, what, err) : 0;
}

int apart_check_backing(const struct publish *file, const char *image_path,
			const struct qcow2_create_opts *create,
			struct qcow2_error *err)
{
	const char *name = create->backing_file;
	CLEANUP_FREE char *path = NULL;

	if (!name)
		return 0;
	path = path_join(image_path, name);
	if (!path)
		return error_nomem(err, "the path of the backing file",
				   strlen(image_path) + strlen(name));
	if (!publish_leads_to(file, path))
		return 0;
	return error_set(err, -EINVAL,
			 "backing_file %s is the very file that is to be made",
			 TEXT(name, strlen(name)));
}
