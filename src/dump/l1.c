#include "base/checked.h"
#include "dump/context.h"
#include "dump/table.h"

#define L1_ENTRIES_MAX (L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES)

int dump_l1_place(struct dump *d, struct qcow2_error *err)
{
	struct record *r = &d->record;

	record_begin(r, "l1-table", d->l1.off);
	record_number(r, "entries", d->l1.n);
	record_number(r, "bytes", (uint64_t)d->l1.n * L1_ENTRY_BYTES);
	record_number(r, "disk-size", d->l1.disk_size);
	if (!d->no_cluster_bits) {
		record_number(r, "entries-needed",
			      geometry_l1_entries(&d->geo, d->l1.disk_size));
		record_number(r, "bytes-per-entry", geometry_l2_reach(&d->geo));
	}
	return dump_tell(d, err);
}

static int dump_l1_tell_entry(struct dump *d, const struct table *t,
			      uint64_t of, const struct row *row,
			      struct qcow2_error *err)
{
	struct record *r = &d->record;
	uint64_t entry = row->entry.desc;
	uint64_t reserved = entry & L1_RESERVED_MASK;

	(void)of;
	record_begin(r, entry ? "l1-entry" : "l1-empty",
		     table_place(t, row->index));
	record_row(r, row);
	record_hex(r, "guest-offset", row->index * geometry_l2_reach(&d->geo));
	if (!entry)
		return dump_tell(d, err);
	record_hex(r, "entry", entry);
	record_hex(r, "l2-table", l1_table_off(entry));
	record_flag(r, "copied", entry & ENTRY_COPIED);
	if (reserved)
		record_hex(r, "reserved-bits", reserved);
	record_defect(r, l1_entry_defect(&d->geo, entry, d->file_size));
	/* l1_entry_defect() does not report these bits beside another
	 * defect. */
	if (reserved)
		record_defect(r, DEFECT_L1_ENTRY_RESERVED);
	return dump_tell(d, err);
}

int dump_l1(struct dump *d, struct qcow2_error *err)
{
	struct table t;
	int rc = dump_l1_place(d, err);

	table_init(&t, d, d->l1.off, d->l1.n, 64);
	table_skip_to(&t, d->teller.opts->index);
	if (rc == 0 && t.n > L1_ENTRIES_MAX)
		return table_tell_unread(d, &t, 0, t.n, err);
	return rc < 0 ? rc : table_tell_rows(d, &t, dump_l1_tell_entry, 0, err);
}

int dump_l1_entry(struct dump *d, uint64_t index, uint64_t *entry, bool *there,
		  struct qcow2_error *err)
{
	struct table t;
	struct row row = { 0 };
	int rc;

	table_init(&t, d, d->l1.off, min_u64(d->l1.n, L1_ENTRIES_MAX), 64);
	rc = table_get(d, &t, index, &row, err);
	*there = rc > 0;
	*entry = row.entry.desc;
	if (rc == 0)
		return table_tell_unread(d, &t, index, 1, err);
	return rc < 0 ? rc : dump_l1_tell_entry(d, &t, 0, &row, err);
}
