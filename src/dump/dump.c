#include "dump/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "dump/context.h"
#include "store/hold.h"
#include "store/store.h"

typedef int step_fn(struct dump *d, struct qcow2_error *err);

static step_fn *const steps[] = {
	[QCOW2_DUMP_HEADER] = dump_header,
	[QCOW2_DUMP_L1] = dump_l1,
	[QCOW2_DUMP_L2] = dump_l2,
	[QCOW2_DUMP_REFCOUNTS] = dump_refcounts,
	[QCOW2_DUMP_SNAPSHOTS] = dump_snapshots,
	[QCOW2_DUMP_BITMAPS] = dump_bitmaps,
	[QCOW2_DUMP_ENTRY] = dump_entry,
};

int dump_read(struct dump *d, void *buf, size_t len, uint64_t off, uint64_t n,
	      struct qcow2_error *err)
{
	d->n_read += max_u64(len, n);
	if (d->n_read > DUMP_BYTES_MAX)
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "there is more than a dump reads at once: "
				    "%" PRIu64 " bytes; begin further on",
				    DUMP_BYTES_MAX);
	return store_pread(d->file, buf, len, off, 0, err);
}

/* Without them there is no telling where anything is. */
static int check_found(const struct dump *d, struct qcow2_error *err)
{
	enum defect bad = d->no_header ? DEFECT_HEADER_TOO_SHORT
				       : DEFECT_HEADER_CLUSTER_BITS;

	if (!d->no_header && !d->no_cluster_bits)
		return 0;
	return error_defect(err, -EINVAL, (int)bad,
			    d->no_header ? 0 : HEADER_OFF_CLUSTER_BITS,
			    "%s: only the header can be dumped",
			    defect_info((int)bad)->text);
}

static int dump_run(struct dump *d, struct qcow2_error *err)
{
	const struct qcow2_dump_opts *o = d->teller.opts;
	int rc = dump_open(d, err);

	if (rc < 0)
		return rc;
	if (o->what == QCOW2_DUMP_HEADER)
		return dump_header(d, err);
	rc = check_found(d, err);
	if (rc == 0)
		rc = dump_fields(d, false, err);
	if (rc == 0 && o->snapshot)
		rc = dump_choose_snapshot(d, err);
	return rc < 0 ? rc : steps[o->what](d, err);
}

static int dump_held(struct qcow2_store *file,
		     const struct qcow2_dump_opts *opts,
		     struct qcow2_error *err)
{
	struct dump *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return error_nomem(err, "the dump", sizeof(*d));
	d->file = file;
	d->teller.opts = opts;
	rc = dump_run(d, err);
	free(d->head);
	free(d);
	return rc;
}

int dump_store(struct qcow2_store *file, const struct qcow2_dump_opts *opts,
	       struct qcow2_error *err)
{
	CLEANUP_HOLD struct store_hold hold = { 0 };
	int rc = 0;

	if (!(opts->flags & QCOW2_DUMP_NO_LOCK))
		rc = store_hold(&hold, file, HOLD_READ, err);
	return rc < 0 ? rc : dump_held(file, opts, err);
}
