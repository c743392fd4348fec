#include "check/check.h"

#include <assert.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "check/context.h"
#include "format/budget.h"
#include "format/limits.h"

void check_end(struct check *c)
{
	VALIDATE(check, c);
	refblocks_release(c);
	refs_release(&c->refs);
	budget_free(&c->budget, c->l1_tables.places,
		    c->l1_tables.capacity * sizeof(*c->l1_tables.places));
	budget_free(&c->budget, c->long_entry, SNAPSHOT_ENTRY_BYTES_MAX);
	l2set_release(&c->l2_tables);
	bulk_release(&c->bulk);
}

static int claim_header(struct check *c, struct qcow2_error *err)
{
	struct use_claim claim = {
		.len = c->geo.cluster_size,
		.use = USE_HEADER,
		.n = 1,
		.beyond = DEFECT_HEADER_TOO_SHORT,
	};

	return claim_clusters(c, &claim, err);
}

static int claim_l1(struct check *c, struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = c->header.l1_off,
		.len = (uint64_t)c->header.l1_size * L1_ENTRY_BYTES,
		.use = USE_L1_TABLE,
		.n = 1,
		.from = HEADER_OFF_L1_OFF,
		.beyond = DEFECT_HEADER_L1_OFFSET,
	};

	return claim.len ? claim_clusters(c, &claim, err) : 0;
}

/* Owners first, sharers after them: see context.h. */
static int check_collect(struct check *c, struct qcow2_error *err)
{
	int rc;

	rc = claim_header(c, err);
	if (rc >= 0)
		rc = claim_l1(c, err);
	if (rc >= 0)
		rc = refblocks_load(c, err);
	if (rc >= 0)
		rc = check_crypto(c, err);
	if (rc >= 0)
		rc = check_bitmaps(c, err);
	if (rc >= 0)
		rc = report_progress(&c->report, 50, err);
	if (rc >= 0)
		rc = check_snapshots(c, err);
	if (rc >= 0)
		rc = check_l1(c, c->header.l1_off, c->header.l1_size, true,
			      err);
	return rc;
}

void check_validate(const struct check *c)
{
	assert(c->file && c->report.opts && c->report.result);
	assert(c->l1_tables.n <= c->l1_tables.capacity);
	assert(c->refs.budget == &c->budget &&
	       c->l2_tables.budget == &c->budget);
	budget_validate(&c->budget);
	refs_validate(&c->refs);
	refblocks_validate(c);
	l2set_validate(&c->l2_tables);
}

int check_run(struct check *c, struct qcow2_error *err)
{
	size_t piece_max;
	int rc;

	rc = check_open(c, c->report.opts->budget.virtual_bytes, err);
	if (rc < 0)
		return rc;
	piece_max = c->geo.cluster_size;
	rc = bulk_init(&c->bulk, c->file, &c->budget, piece_max, err);
	if (rc >= 0)
		rc = check_collect(c, err);
	if (rc >= 0)
		rc = check_l2_tables(c, err);
	if (rc >= 0)
		rc = check_compare(c, err);
	if (rc >= 0)
		rc = report_progress(&c->report, 1000, err);
	return rc < 0 ? rc : 0;
}

void check_begin(struct check *c, struct qcow2_store *file,
		 const struct qcow2_check_opts *opts,
		 struct qcow2_check_result *result)
{
	static const struct qcow2_check_opts defaults = QCOW2_CHECK_OPTS_INIT;

	*c = (struct check){ .file = file };
	c->report.opts = opts ? opts : &defaults;
	c->report.result = result;
	budget_init(&c->budget, budget_metadata_bytes(&c->report.opts->budget));
	refs_init(&c->refs, &c->budget);
	l2set_init(&c->l2_tables, &c->budget);
}

int check_store(struct qcow2_store *file, const struct qcow2_check_opts *opts,
		struct qcow2_check_result *result, struct qcow2_error *err)
{
	struct qcow2_check_result found = { 0 };
	struct check c;
	int rc;

	check_begin(&c, file, opts, &found);
	c.mode.tolerant = true;
	rc = check_run(&c, err);
	check_end(&c);
	if (rc < 0)
		return rc;
	found.struct_size = result->struct_size;
	*result = found;
	return 0;
}
