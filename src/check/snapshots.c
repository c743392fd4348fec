#include <inttypes.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "base/zero.h"
#include "check/context.h"
#include "format/snapshot.h"
#include "store/store.h"

/* The part of a decoded table entry that is kept. */
struct check_snapshots_l1_table {
	uint64_t off;
	uint64_t from; /* the snapshot's table entry */
	uint32_t n_entries;
};

struct l1_list {
	struct check_snapshots_l1_table *tables;
	size_t n;
	size_t capacity;
};

/* The table cannot be followed any further. */
static void cut_off(struct check *c, enum defect defect, uint32_t idx,
		    uint64_t off)
{
	report_defect(&c->report, defect, off,
		      "snapshot table entry %" PRIu32 " of %" PRIu32 ": %s",
		      idx, c->header.n_snapshots,
		      defect_info((int)defect)->text);
	if (c->mode.no_snapshot_table)
		return;
	report_unchecked(&c->report, 1, off,
			 "snapshots from table entry %" PRIu32
			 " on cannot be checked",
			 idx);
	c->report.incomplete = true;
}

static int check_snapshots_remember(struct check *c, struct l1_list *list,
				    const struct snapshot *s, uint64_t from,
				    struct qcow2_error *err)
{
	if (!s->l1_size)
		return 0;
	if (!budget_grow(&c->budget, (void **)&list->tables,
			 sizeof(*list->tables), list->n, &list->capacity))
		return budget_error(&c->budget, "the list of snapshots", err);
	list->tables[list->n++] =
		(struct check_snapshots_l1_table){ s->l1_off, from,
						   s->l1_size };
	return 0;
}

/* Old entries do not say how large the disk was. */
static enum defect entry_defect(const struct check *c, const struct snapshot *s)
{
	enum defect bad = snapshot_l1_defect(&c->geo, s, c->file_size);

	if (bad == DEFECT_SNAPSHOT_DISK_SIZE &&
	    s->extra_len < SNAPSHOT_EXTRA_BYTES_V3)
		bad = DEFECT_NONE;
	if (!bad && snapshot_is_misplaced(&c->geo, s))
		bad = DEFECT_SNAPSHOT_L1_EMPTY;
	return bad;
}

static int check_entry(struct check *c, struct l1_list *list,
		       const struct snapshot *s, uint32_t idx, uint64_t off,
		       struct qcow2_error *err)
{
	enum defect bad = entry_defect(c, s);

	if (snapshot_lacks_extra(s, c->header.version))
		report_defect(&c->report, DEFECT_SNAPSHOT_EXTRA_MISSING, off,
			      "snapshot table entry %" PRIu32
			      " (%s) has %" PRIu32
			      " bytes of extra data, version 3 requires "
			      "%d",
			      idx, TEXT(s->id, s->id_len), s->extra_len,
			      SNAPSHOT_EXTRA_BYTES_V3);
	if (bad)
		report_defect(&c->report, bad, off,
			      "snapshot table entry %" PRIu32
			      " (%s): %s (L1 table at 0x%" PRIx64
			      " with %" PRIu32 " entries, disk size %" PRIu64
			      ")",
			      idx, TEXT(s->id, s->id_len),
			      defect_info((int)bad)->text, s->l1_off,
			      s->l1_size, s->disk_size);
	if (bad == DEFECT_SNAPSHOT_L1)
		return 0;
	return check_snapshots_remember(c, list, s, off, err);
}

enum {
	FIXED_ID_LEN = 12,
	FIXED_NAME_LEN = 14,
	FIXED_EXTRA_LEN = 36,
};

static uint64_t table_end(const struct check *c)
{
	return c->header.snapshots_off + SNAPSHOT_TABLE_BYTES_MAX;
}

/* Extra data of more than the limit may be damage, or of a later version: it is
 * followed as far as that leads to what an entry can be. */
static int read_long(struct check *c, const uint8_t *fixed, uint64_t *off,
		     struct snapshot *s, enum defect *bad,
		     struct qcow2_error *err)
{
	size_t kept = SNAPSHOT_HEADER_BYTES + SNAPSHOT_EXTRA_BYTES_MAX;
	size_t names = (size_t)get_be16(fixed + FIXED_ID_LEN) +
		       get_be16(fixed + FIXED_NAME_LEN);
	uint64_t tail = *off + SNAPSHOT_HEADER_BYTES +
			(uint64_t)get_be32(fixed + FIXED_EXTRA_LEN);
	uint64_t end = align_up(tail + names, 8);
	struct fault fault;
	struct reader r;
	int rc;

	*bad = DEFECT_SNAPSHOT_EXTRA_SIZE;
	if (end > c->file_size || end > table_end(c))
		return 1;
	if (!c->long_entry)
		c->long_entry =
			budget_alloc(&c->budget, SNAPSHOT_ENTRY_BYTES_MAX);
	if (!c->long_entry)
		return budget_error(&c->budget, "a snapshot", err);
	rc = store_pread(c->file, c->long_entry, kept, *off, 0, err);
	if (rc == 0 && names)
		rc = store_pread(c->file, c->long_entry + kept, names, tail, 0,
				 err);
	if (rc < 0)
		return rc;
	put_be32(c->long_entry + FIXED_EXTRA_LEN, SNAPSHOT_EXTRA_BYTES_MAX);
	r = reader_init(c->long_entry, kept + names);
	*off = end;
	return snapshot_decode(s, &r, c->header.size, &fault) ? 1 : 0;
}

_Static_assert(BULK_BYTES >= SNAPSHOT_ENTRY_BYTES_MAX,
	       "a piece holds any entry");

int check_snapshot_entry(struct check *c, uint64_t *off, struct snapshot *s,
			 enum defect *bad, struct qcow2_error *err)
{
	static const uint8_t nothing[SNAPSHOT_HEADER_BYTES];
	struct fault fault;
	struct reader r;
	const uint8_t *p;
	uint64_t len;
	int rc;

	rc = bulk_read(&c->bulk, SNAPSHOT_HEADER_BYTES, BULK_BYTES, *off, &p,
		       err);
	if (rc < 0)
		return rc;
	if (p && get_be32(p + FIXED_EXTRA_LEN) > SNAPSHOT_EXTRA_BYTES_MAX)
		return read_long(c, p, off, s, bad, err);
	len = p ? snapshot_entry_bytes(p) : SNAPSHOT_HEADER_BYTES;
	*bad = DEFECT_SNAPSHOT_TABLE;
	/* If the number of entries is made up, zeros are no entry. */
	if (c->snapshots_count == COUNT_MADE_UP &&
	    (!p || is_zero(p, SNAPSHOT_HEADER_BYTES)))
		return 1;
	if (*off >= c->file_size || len > table_end(c) - *off)
		return 1;
	rc = bulk_read(&c->bulk, (size_t)len, BULK_BYTES, *off, &p, err);
	if (rc < 0)
		return rc;
	r = p ? reader_init(p, (size_t)len)
	      : reader_init(nothing, sizeof(nothing));
	*bad = snapshot_decode(s, &r, c->header.size, &fault);
	if (*bad)
		return 1;
	*off += len;
	return 0;
}

/* Checks the entry at *off and moves *off past it.  1: the table ends here. */
static int next_entry(struct check *c, struct l1_list *list, uint32_t idx,
		      uint64_t *off, struct qcow2_error *err)
{
	uint64_t at = *off;
	struct snapshot s;
	enum defect bad;
	int rc = check_snapshot_entry(c, off, &s, &bad, err);

	if (rc < 0)
		return rc;
	if (rc > 0) {
		cut_off(c, bad, idx, at);
		return 1;
	}
	if (bad)
		report_defect(&c->report, bad, at,
			      "snapshot table entry %" PRIu32 " (%s): %s", idx,
			      TEXT(s.id, s.id_len),
			      defect_info((int)bad)->text);
	return check_entry(c, list, &s, idx, at, err);
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

static int check_snapshots_claim_table(struct check *c, uint64_t end,
				       struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = c->header.snapshots_off,
		.len = end - c->header.snapshots_off,
		.use = USE_SNAPSHOT_TABLE,
		.n = 1,
		.from = HEADER_OFF_SNAPSHOTS_OFF,
		.beyond = DEFECT_SNAPSHOT_TABLE,
	};

	if (!claim.len || c->mode.no_snapshot_table)
		return 0;
	return claim_clusters(c, &claim, err);
}

static uint64_t l1_clusters(const struct check *c, uint32_t n_entries)
{
	return geometry_clusters(&c->geo, (uint64_t)n_entries * L1_ENTRY_BYTES);
}

bool check_shares_l1(const struct check *c, uint64_t l1_off, uint32_t n_entries)
{
	return n_entries && l1_off == c->header.l1_off &&
	       l1_clusters(c, n_entries) <= l1_clusters(c, c->header.l1_size);
}

static int check_snapshots_walk_table(struct check *c,
				      const struct check_snapshots_l1_table *t,
				      struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = t->off,
		.len = (uint64_t)t->n_entries * L1_ENTRY_BYTES,
		.use = USE_SNAPSHOT_L1,
		.n = 1,
		.from = t->from,
		.beyond = DEFECT_SNAPSHOT_L1,
	};
	int rc;

	if (check_shares_l1(c, t->off, t->n_entries)) {
		c->l1_tables.n_shared_clusters += l1_clusters(c, t->n_entries);
		if (c->mode.split_l1)
			return check_l1(c, t->off, t->n_entries, false, err);
	}
	rc = claim_clusters(c, &claim, err);
	/* If an L1 table is shared, its references may be the other's. */
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
		rc = check_snapshots_claim_table(c, end, err);
	for (size_t i = 0; rc >= 0 && i < list.n; i++)
		rc = check_snapshots_walk_table(c, &list.tables[i], err);
	budget_free(&c->budget, list.tables,
		    list.capacity * sizeof(*list.tables));
	return rc < 0 ? rc : 0;
}
