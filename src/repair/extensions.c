/*
 * The parts of the header other than the tables.  Every change is one field, or
 * lies in the first sector: it is whole or not at all.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "format/extension.h"
#include "repair/context.h"
#include "store/store.h"

/* The bits that a writer of this version leaves set; the others belong to
 * features that it does not keep up to date. */
static uint64_t kept_bits(const struct repair *r)
{
	return AUTOCLEAR_BITMAPS |
	       (header_has_data_file(&r->c.header) ? AUTOCLEAR_DATA_FILE_RAW
						   : 0);
}

int repair_autoclear(struct repair *r, struct qcow2_error *err)
{
	uint64_t keep = kept_bits(r);

	if (!(r->c.header.autoclear_features & ~keep))
		return 0;
	if (r->c.header.autoclear_features & ~keep & AUTOCLEAR_DATA_FILE_RAW)
		repair_tell(r, DEFECT_HEADER_DATA_FILE_RAW,
			    HEADER_OFF_AUTOCLEAR,
			    "the raw data file bit is "
			    "set and there is no data file: cleared");
	r->stale = true;
	return repair_clear_bits(r, 0, ~keep, err);
}

static int put_field(struct repair *r, uint64_t host_off, uint32_t value,
		     struct qcow2_error *err)
{
	uint8_t buf[4];
	int rc;

	put_be32(buf, value);
	rc = store_pwrite(r->file, buf, sizeof(buf), host_off, 0, err);
	r->stale = true;
	return rc < 0 ? rc : repair_barrier(r, err);
}

/* An extension of another length has nothing to say, and a filler none of its
 * own: a rewrite of the header leaves it out. */
static int mend_list(struct repair *r, struct extension_iter *it,
		     struct qcow2_error *err)
{
	struct extension x;
	struct fault fault;
	uint32_t end;
	int rc = 0;

	while (rc == 0 && extension_next(it, &x, &fault))
		if (x.type == EXT_BITMAPS && x.len != BITMAPS_EXT_BYTES)
			rc = put_field(r, x.off, EXT_FILLER, err);
	end = rc == 0 && !fault.defect ? extension_long_end(it) : 0;
	if (!end)
		return rc;
	repair_tell(r, DEFECT_EXTENSION_END, end,
		    "the end mark of the header "
		    "extensions has a length that does not fit: set to 0");
	return put_field(r, end + UINT64_C(4), 0, err);
}

static int mend_extensions(struct repair *r, struct qcow2_error *err)
{
	size_t room = r->c.geo.cluster_size;
	size_t len = (size_t)min_u64(room, r->c.file_size);
	uint8_t *buf = budget_alloc(&r->c.budget, room);
	struct extension_iter it;
	int rc;

	if (!buf)
		return budget_error(&r->c.budget, "the header cluster", err);
	rc = store_pread(r->file, buf, len, 0, 0, err);
	if (rc == 0) {
		extension_iter_init(&it, &r->c.header, buf, len);
		rc = mend_list(r, &it, err);
	}
	budget_free(&r->c.budget, buf, room);
	return rc;
}

/* A malformed extension refers to nothing that can be known: without its bit it
 * is nobody's. */
static int drop_bitmaps(struct repair *r, struct qcow2_error *err)
{
	repair_tell(r, DEFECT_EXTENSION_BITMAPS, HEADER_OFF_AUTOCLEAR,
		    "the bitmaps extension is malformed: the bitmaps are "
		    "given up");
	r->stale = true;
	return repair_clear_bits(r, 0, AUTOCLEAR_BITMAPS, err);
}

int repair_extensions(struct repair *r, struct qcow2_error *err)
{
	const struct defect_set *found = &r->c.report.found;
	bool bitmaps = defect_set_has(found, DEFECT_EXTENSION_BITMAPS);
	int rc = repair_autoclear(r, err);

	if (rc < 0 || r->what != REPAIR_ALL)
		return rc;
	if (bitmaps)
		rc = drop_bitmaps(r, err);
	if (rc == 0 && (bitmaps || defect_set_has(found, DEFECT_EXTENSION_END)))
		rc = mend_extensions(r, err);
	return rc;
}
