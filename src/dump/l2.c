#include "dump/context.h"
#include "dump/table.h"

static const char *const kind_names[] = {
	[CLUSTER_UNALLOCATED] = "unallocated",   [CLUSTER_ZERO_PLAIN] = "zero",
	[CLUSTER_ZERO_ALLOC] = "zero-allocated", [CLUSTER_NORMAL] = "normal",
	[CLUSTER_COMPRESSED] = "compressed",     [CLUSTER_INVALID] = "invalid",
};

static void init_table(struct table *t, const struct dump *d, uint64_t off)
{
	table_init(t, d, off, geometry_l2_entries(&d->geo),
		   d->geo.l2_entry_bytes * 8);
}

static void add_compressed(struct record *r, const struct geometry *g,
			   uint64_t desc)
{
	struct compressed c = compressed_decode(g, desc);

	record_hex(r, "host-offset", c.host_off);
	record_number(r, "compressed-length", c.len);
}

static void add_plain(struct record *r, const struct geometry *g,
		      struct l2_entry e)
{
	uint64_t mask = L2_RESERVED_MASK | (g->extended_l2 ? L2_ZERO : 0);

	/* In a data file 0 is an offset. */
	if (l2_host_off(e) || g->has_data_file)
		record_hex(r, "host-offset", l2_host_off(e));
	if (e.desc & mask)
		record_hex(r, "reserved-bits", e.desc & mask);
}

static void add_bitmap(struct record *r, uint64_t bitmap)
{
	record_hex(r, "subclusters-allocated", (uint32_t)bitmap);
	record_hex(r, "subclusters-zero", bitmap >> 32);
}

static void add_entry(struct dump *d, struct l2_entry e, uint64_t guest_off)
{
	struct record *r = &d->record;
	enum cluster_kind kind = l2_cluster_kind(&d->geo, e);

	record_hex(r, "entry", e.desc);
	record_word(r, "kind", kind_names[kind]);
	if (kind == CLUSTER_COMPRESSED)
		add_compressed(r, &d->geo, e.desc);
	else
		add_plain(r, &d->geo, e);
	record_flag(r, "copied", e.desc & ENTRY_COPIED);
	if (d->geo.extended_l2)
		add_bitmap(r, e.bitmap);
	/* The data file is not opened, so where it ends is not known. */
	record_defect(r, l2_entry_defect(&d->geo, e, guest_off, d->file_size,
					 d->geo.has_data_file ? UINT64_MAX
							      : d->file_size));
}

static int dump_l2_tell_entry(struct dump *d, const struct table *t,
			      uint64_t l1_index, const struct row *row,
			      struct qcow2_error *err)
{
	struct l2_entry e = row->entry;
	uint64_t guest_off = l1_index * geometry_l2_reach(&d->geo) +
			     (row->index << d->geo.cluster_bits);
	bool empty = !e.desc && !e.bitmap;

	record_begin(&d->record, empty ? "l2-empty" : "l2-entry",
		     table_place(t, row->index));
	record_row(&d->record, row);
	record_hex(&d->record, "guest-offset", guest_off);
	if (!empty)
		add_entry(d, e, guest_off);
	return dump_tell(d, err);
}

static int dump_table(struct dump *d, uint64_t off, uint64_t l1_index,
		      struct qcow2_error *err)
{
	struct table t;

	init_table(&t, d, off);
	return table_tell_rows(d, &t, dump_l2_tell_entry, l1_index, err);
}

int dump_l2(struct dump *d, struct qcow2_error *err)
{
	uint64_t index = d->teller.opts->index;
	uint64_t entry;
	bool there;
	int rc = dump_l1_entry(d, index, &entry, &there, err);

	if (rc < 0 || !there || !l1_table_off(entry))
		return rc;
	return dump_table(d, l1_table_off(entry), index, err);
}

int dump_l2_entry(struct dump *d, uint64_t table, uint64_t l1_index,
		  uint64_t index, struct l2_entry *e, bool *there,
		  struct qcow2_error *err)
{
	struct table t;
	struct row row = { 0 };
	int rc;

	init_table(&t, d, table);
	rc = table_get(d, &t, index, &row, err);
	*there = rc > 0;
	*e = row.entry;
	if (rc == 0)
		return table_tell_unread(d, &t, index, 1, err);
	return rc < 0 ? rc : dump_l2_tell_entry(d, &t, l1_index, &row, err);
}
