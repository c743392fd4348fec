#include "ops/pair.h"

#include <errno.h>

#include "base/error.h"

static int begin_data(const struct pair *p, const struct publish *file,
		      struct publish *data, struct qcow2_error *err)
{
	struct publish_opts where = p->where;
	int rc;

	where.placement = NULL;
	if (publish_leads_to(file, p->data_path))
		return error_set(err, -EINVAL, "data_file is the image itself");
	rc = publish_begin(data, p->data_path, &where, err);
	return rc < 0 ? error_prefix(err, rc, "data_file") : 0;
}

/* The data file is in its place when this returns 0. */
static int fill_both(const struct pair *p, const struct publish *file,
		     struct qcow2_error *err)
{
	struct publish data;
	int rc = begin_data(p, file, &data, err);

	if (rc < 0)
		return rc;
	rc = p->check(p->opaque, &data, err);
	if (rc == 0)
		rc = p->fill(p->opaque, file, data.store, err);
	if (rc == 0)
		return publish_commit(&data, p->syncs, p->data_hold, err);
	publish_abort(&data);
	return rc;
}

int pair_make(const struct pair *p, struct qcow2_error *err)
{
	struct publish file;
	int rc = publish_begin(&file, p->path, &p->where, err);

	if (rc < 0)
		return rc;
	rc = p->check(p->opaque, &file, err);
	if (rc == 0)
		rc = p->data_path ? fill_both(p, &file, err)
				  : p->fill(p->opaque, &file, NULL, err);
	if (rc < 0) {
		publish_abort(&file);
		return rc;
	}
	rc = publish_commit(&file, p->syncs, p->hold, err);
	if (rc < 0 && p->data_hold)
		store_release(p->data_hold);
	return rc;
}
