/*
 * The dump of metadata: argument checks over dump/.
 */
#include "dump/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/options.h"

static bool has_index(uint32_t what)
{
	return what == QCOW2_DUMP_L1 || what == QCOW2_DUMP_L2 ||
	       what == QCOW2_DUMP_REFCOUNTS;
}

static bool has_snapshot(uint32_t what)
{
	return what == QCOW2_DUMP_L1 || what == QCOW2_DUMP_L2 ||
	       what == QCOW2_DUMP_ENTRY;
}

/* An option that would have no effect is a mistake. */
static int check_where(const struct qcow2_dump_opts *o, struct qcow2_error *err)
{
	if (o->index && !has_index(o->what))
		return error_set(err, -EINVAL,
				 "qcow2_dump_opts.index is for tables with "
				 "entries of one size");
	if (o->offset && o->what != QCOW2_DUMP_ENTRY)
		return error_set(err, -EINVAL,
				 "qcow2_dump_opts.offset is for "
				 "QCOW2_DUMP_ENTRY");
	if (o->offset > INT64_MAX)
		return error_set(err, -EINVAL,
				 "guest offset %" PRIu64 " is beyond 2^63-1",
				 o->offset);
	if (o->snapshot && !has_snapshot(o->what))
		return error_set(err, -EINVAL,
				 "qcow2_dump_opts.snapshot is for L1 and L2 "
				 "tables");
	return 0;
}

static int api_dump_take_opts(const struct qcow2_dump_opts *opts,
			      struct qcow2_dump_opts *own,
			      struct qcow2_error *err)
{
	int rc = options_copy(own, sizeof(*own), opts, "qcow2_dump_opts", err);

	if (rc < 0)
		return rc;
	if (own->flags & ~QCOW2_DUMP_NO_LOCK)
		return error_set(err, -EINVAL,
				 "dump flags 0x%" PRIx32 " are not known",
				 own->flags & ~QCOW2_DUMP_NO_LOCK);
	if (own->what > QCOW2_DUMP_ENTRY)
		return error_set(err, -EINVAL,
				 "%" PRIu32 " is nothing that can be dumped",
				 own->what);
	return check_where(own, err);
}

int qcow2_dump_store(struct qcow2_store *store,
		     const struct qcow2_dump_opts *opts,
		     struct qcow2_error *err)
{
	struct qcow2_dump_opts own;
	int rc;

	if (!store)
		return error_set(err, -EINVAL, "store must not be NULL");
	rc = api_dump_take_opts(opts, &own, err);
	return rc < 0 ? rc : dump_store(store, &own, err);
}
