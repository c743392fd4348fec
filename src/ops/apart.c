#include "ops/apart.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "chain/disk.h"
#include "store/publish.h"
#include "store/store.h"

static int refuse(const char *name, const char *what, struct qcow2_error *err)
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
	return refuse(store_name(old), what, err);
}

int apart_check_disk(const struct disk *target, const struct disk *d,
		     const char *what, struct qcow2_error *err)
{
	const char *name = disk_layer_filename(target, 0);

	return disk_reads_top(d, target) ? refuse(name, what, err) : 0;
}
