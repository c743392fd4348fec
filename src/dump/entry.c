#include "base/checked.h"
#include "dump/context.h"

static int tell_disk(struct dump *d, uint64_t guest_off,
		     struct qcow2_error *err)
{
	struct record *r = &d->record;

	record_begin(r, "guest", NOWHERE);
	record_hex(r, "guest-offset", guest_off);
	record_number(r, "disk-size", d->l1.disk_size);
	record_flag(r, "past-end-of-disk", guest_off >= d->l1.disk_size);
	record_number(r, "l1-index", geometry_l1_index(&d->geo, guest_off));
	record_number(r, "l2-index", geometry_l2_index(&d->geo, guest_off));
	if (d->geo.extended_l2)
		record_number(r, "subcluster",
			      geometry_subcluster_index(&d->geo, guest_off));
	return dump_tell(d, err);
}

/* In tables of snapshots the flag is as it was when they were made. */
static enum copied copied_of(const struct dump *d, uint64_t entry)
{
	if (d->teller.opts->snapshot)
		return COPIED_SAYS_NOTHING;
	return entry & ENTRY_COPIED ? COPIED_SET : COPIED_CLEAR;
}

/* Compressed data may lie in several clusters, none of them its own. */
static int tell_compressed(struct dump *d, struct l2_entry e,
			   struct qcow2_error *err)
{
	struct compressed c = compressed_decode(&d->geo, e.desc);
	uint64_t end = c.host_off + c.len;
	uint64_t off = align_down(c.host_off, d->geo.cluster_size);
	int rc = 0;

	for (; rc == 0 && off < end; off += d->geo.cluster_size)
		rc = dump_refcount(d, off, COPIED_SAYS_NOTHING, err);
	return rc;
}

/* The byte itself. */
static int tell_data(struct dump *d, struct l2_entry e, uint64_t guest_off,
		     struct qcow2_error *err)
{
	struct record *r = &d->record;
	uint64_t off = l2_host_off(e) + geometry_in_cluster(&d->geo, guest_off);

	record_begin(r, "data", d->geo.has_data_file ? NOWHERE : off);
	record_flag(r, "in-data-file", d->geo.has_data_file);
	if (d->geo.has_data_file)
		record_hex(r, "data-file-offset", off);
	return dump_tell(d, err);
}

static int dump_entry_follow(struct dump *d, struct l2_entry e,
			     uint64_t guest_off, struct qcow2_error *err)
{
	enum cluster_kind kind = l2_cluster_kind(&d->geo, e);
	int rc;

	if (kind == CLUSTER_COMPRESSED)
		return tell_compressed(d, e, err);
	if (kind != CLUSTER_NORMAL && kind != CLUSTER_ZERO_ALLOC)
		return 0;
	rc = tell_data(d, e, guest_off, err);
	if (rc < 0 || d->geo.has_data_file)
		return rc;
	return dump_refcount(d, l2_host_off(e), copied_of(d, e.desc), err);
}

int dump_entry(struct dump *d, struct qcow2_error *err)
{
	uint64_t guest_off = d->teller.opts->offset;
	uint64_t index = geometry_l1_index(&d->geo, guest_off);
	struct l2_entry e;
	uint64_t entry, table;
	bool there = false;
	int rc = tell_disk(d, guest_off, err);

	if (rc == 0)
		rc = dump_l1_entry(d, index, &entry, &there, err);
	if (rc < 0 || !there || !l1_table_off(entry))
		return rc;
	table = l1_table_off(entry);
	rc = dump_refcount(d, table, copied_of(d, entry), err);
	if (rc == 0)
		rc = dump_l2_entry(d, table, index,
				   geometry_l2_index(&d->geo, guest_off), &e,
				   &there, err);
	return rc < 0 || !there ? rc : dump_entry_follow(d, e, guest_off, err);
}
