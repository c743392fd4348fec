#include <inttypes.h>

#include "base/checked.h"
#include "base/text.h"
#include "check/context.h"
#include "format/snapshot.h"

/* What is kept of a table entry once it is decoded. */
struct l1_table {
	uint64_t off;
	uint64_t from;       /* the snapshot's table entry */
	uint32_t n_entries;
};

struct l1_list {
	struct l1_table *tables;
	size_t n;
	size_t capacity;
};

/* The table cannot be followed any further. */
static void cut_off(struct check *c, enum defect defect, uint32_t idx,
		    uint64_t off)
{
	report_defect(&c->report, defect, off, "snapshot table entry %" PRIu32
		      " of %" PRIu32 ": %s", idx, c->header.n_snapshots,
		      defect_info((int)defect)->text);
	report_unchecked(&c->report, 1, off, "snapshots from table entry %"
			 PRIu32 " on cannot be checked", idx);
	c->report.incomplete = true;
}

static int remember(struct check *c, struct l1_list *list,
		    const struct snapshot *s, uint64_t from,
		    struct qcow2_error *err)
{
	if (!s->l1_size)
		return 0;
	if (!budget_grow(&c->budget, (void **)&list->tables,
			 sizeof(*list->tables), list->n, &list->capacity))
		return budget_error(&c->budget, "the list of snapshots", err);
	list->tables[list->n++] = (struct l1_table){ s->l1_off, from,
						     s->l1_size };
	return 0;
}

/* Old entries do not say how large the disk was. */
static enum defect entry_defect(const struct check *c,
				const struct snapshot *s)
{
	enum defect bad = snapshot_l1_defect(&c->geo, s, c->file_size);

	if (bad == DEFECT_SNAPSHOT_DISK_SIZE &&
	    s->extra_len < SNAPSHOT_EXTRA_BYTES_V3)
		return DEFECT_NONE;
	return bad;
}

static int check_entry(struct check *c, struct l1_list *list,
		       const struct snapshot *s, uint32_t idx, uint64_t off,
		       struct qcow2_error *err)
{
	enum defect bad = entry_defect(c, s);

	if (snapshot_lacks_extra(s, c->header.version))
		report_defect(&c->report, DEFECT_SNAPSHOT_EXTRA_MISSING, off,
			      "snapshot table entry %" PRIu32 " (%s) has %"
			      PRIu32 " bytes of extra data, version 3 requires "
			      "%d", idx, TEXT(s->id, s->id_len), s->extra_len,
			      SNAPSHOT_EXTRA_BYTES_V3);
	if (bad)
		report_defect(&c->report, bad, off, "snapshot table entry %"
			      PRIu32 " (%s): %s (L1 table at 0x%" PRIx64
			      " with %" PRIu32 " entries, disk size %" PRIu64
			      ")", idx, TEXT(s->id, s->id_len),
			      defect_info((int)bad)->text, s->l1_off,
			      s->l1_size, s->disk_size);
	if (bad == DEFECT_SNAPSHOT_L1)
		return 0;
	return remember(c, list, s, off, err);
}

/* Decodes the entry at *off and moves *off past it.  1: the table ends here. */
static int next_entry(struct check *c, struct l1_list *list, uint32_t idx,
		      uint64_t *off, struct qcow2_error *err)
{
	uint64_t end = c->header.snapshots_off + SNAPSHOT_TABLE_BYTES_MAX;
	static const uint8_t nothing[SNAPSHOT_HEADER_BYTES];
	struct snapshot s;
	struct fault fault;
	struct reader r;
	const uint8_t *p;
	enum defect bad;
	uint64_t len;
	int rc;

	rc = bulk_read(&c->bulk, SNAPSHOT_HEADER_BYTES, BULK_BYTES, *off, &p,
		       err);
	if (rc < 0)
		return rc;
	len = p ? snapshot_entry_bytes(p) : SNAPSHOT_HEADER_BYTES;
	if (*off >= c->file_size || len > end - *off) {
		cut_off(c, DEFECT_SNAPSHOT_TABLE, idx, *off);
		return 1;
	}
	rc = bulk_read(&c->bulk, (size_t)len, BULK_BYTES, *off, &p, err);
	if (rc < 0)
		return rc;
	r = p ? reader_init(p, (size_t)len)
	      : reader_init(nothing, sizeof(nothing));
	bad = snapshot_decode(&s, &r, c->header.size, &fault);
	if (bad) {
		cut_off(c, bad, idx, *off);
		return 1;
	}
	rc = check_entry(c, list, &s, idx, *off, err);
	*off += len;
	return rc;
}

static int read_entries(struct check *c, struct l1_list *list, uint64_t *end,
			struct qcow2_error *err)
{
	*end = c->header.snapshots_off;
	for (uint32_t i = 0; i < c->header.n_snapshots; i++) {
		int rc = next_entry(c, list, i, end, err);

		if (rc < 0)
			return error_prefix(err, rc, "snapshot table");
		if (rc > 0)
			break;
	}
	return 0;
}

static int claim_table(struct check *c, uint64_t end, struct qcow2_error *err)
{
	struct claim claim = {
		.off = c->header.snapshots_off,
		.len = end - c->header.snapshots_off,
		.use = USE_SNAPSHOT_TABLE, .n = 1,
		.from = HEADER_OFF_SNAPSHOTS_OFF,
		.beyond = DEFECT_SNAPSHOT_TABLE,
	};

	return claim.len ? claim_clusters(c, &claim, err) : 0;
}

static int walk_table(struct check *c, const struct l1_table *t,
		      struct qcow2_error *err)
{
	struct claim claim = {
		.off = t->off,
		.len = (uint64_t)t->n_entries * L1_ENTRY_BYTES,
		.use = USE_SNAPSHOT_L1, .n = 1, .from = t->from,
		.beyond = DEFECT_SNAPSHOT_L1,
	};
	int rc = claim_clusters(c, &claim, err);

	/* Whoever shares an L1 table may mean the other's references. */
	if (rc > 0)
		c->report.incomplete = true;
	return rc ? rc : check_l1(c, t->off, t->n_entries, false, err);
}

int check_snapshots(struct check *c, struct qcow2_error *err)
{
	struct l1_list list = { 0 };
	uint64_t end;
	int rc;

	if (!c->header.n_snapshots)
		return 0;
	rc = read_entries(c, &list, &end, err);
	if (rc >= 0)
		rc = claim_table(c, end, err);
	for (size_t i = 0; rc >= 0 && i < list.n; i++)
		rc = walk_table(c, &list.tables[i], err);
	budget_free(&c->budget, list.tables,
		    list.capacity * sizeof(*list.tables));
	return rc < 0 ? rc : 0;
}
