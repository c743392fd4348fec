#include "base/checked.h"
#include "dump/context.h"
#include "dump/table.h"
#include "format/refcount.h"

int dump_refcounts_place(struct dump *d, struct qcow2_error *err)
{
	const struct header *h = &d->header;
	struct record *r = &d->record;

	record_begin(r, "refcount-table", h->refcount_table_off);
	record_number(r, "clusters", h->refcount_table_clusters);
	if (!d->no_cluster_bits) {
		record_number(r, "bytes",
			      (uint64_t)h->refcount_table_clusters
				      << d->geo.cluster_bits);
		if (!d->no_refcount_order)
			record_number(r, "refcount-bits", d->geo.refcount_bits);
	}
	return dump_tell(d, err);
}

static uint64_t table_entries(const struct dump *d)
{
	return ((uint64_t)d->header.refcount_table_clusters
		<< d->geo.cluster_bits) /
	       REFCOUNT_TABLE_ENTRY_BYTES;
}

/* The place of cluster @n of the file, unless no file can be that long. */
static void record_cluster(struct record *r, const struct geometry *g,
			   const char *name, uint64_t n)
{
	if (n <= UINT64_MAX >> g->cluster_bits)
		record_hex(r, name, n << g->cluster_bits);
}

static void make_table_entry(struct dump *d, const struct table *t,
			     const struct row *row)
{
	struct record *r = &d->record;
	uint64_t entry = row->entry.desc;
	uint64_t reserved = entry & ~REFCOUNT_TABLE_OFFSET_MASK;

	record_begin(r, entry ? "refcount-block" : "refcount-empty",
		     table_place(t, row->index));
	record_row(r, row);
	record_cluster(r, &d->geo, "of-clusters-from",
		       row->index << d->geo.refcount_block_bits);
	if (!entry)
		return;
	record_hex(r, "entry", entry);
	record_hex(r, "block", refcount_block_off(entry));
	if (reserved)
		record_hex(r, "reserved-bits", reserved);
	record_defect(
		r, refcount_table_entry_defect(&d->geo, entry, d->file_size));
	if (row->count > 1)
		record_defect(r, DEFECT_REFCOUNT_BLOCK_SHARED);
}

/* A block without a place, or whose entries have no width, is not there. */
static bool block_is_there(const struct dump *d, uint64_t entry)
{
	uint64_t off;

	return !d->no_refcount_order &&
	       !refcount_table_entry_decode(&d->geo, entry, d->file_size,
					    &off) &&
	       off;
}

static int tell_counts(struct dump *d, const struct table *t,
		       uint64_t first_cluster, const struct row *row,
		       struct qcow2_error *err)
{
	struct record *r = &d->record;

	record_begin(r, "refcounts", table_place(t, row->index));
	record_row(r, row);
	record_cluster(r, &d->geo, "of-clusters-from",
		       first_cluster + row->index);
	record_number(r, "refcount", row->entry.desc);
	return dump_tell(d, err);
}

static void init_block(struct table *t, const struct dump *d, uint64_t off)
{
	table_init(t, d, off, UINT64_C(1) << d->geo.refcount_block_bits,
		   d->geo.refcount_bits);
}

static int dump_block(struct dump *d, uint64_t index, uint64_t off,
		      struct qcow2_error *err)
{
	struct table t;

	init_block(&t, d, off);
	return table_tell_rows(d, &t, tell_counts,
			       index << d->geo.refcount_block_bits, err);
}

/* A block that several entries in a row name is told once. */
static int dump_table_entry(struct dump *d, const struct table *t, uint64_t of,
			    const struct row *row, struct qcow2_error *err)
{
	int rc;

	(void)of;
	make_table_entry(d, t, row);
	rc = dump_tell(d, err);
	if (rc < 0 || !block_is_there(d, row->entry.desc))
		return rc;
	return dump_block(d, row->index, refcount_block_off(row->entry.desc),
			  err);
}

int dump_refcounts(struct dump *d, struct qcow2_error *err)
{
	uint64_t n_max = REFCOUNT_TABLE_BYTES_MAX / REFCOUNT_TABLE_ENTRY_BYTES;
	struct table t;
	int rc = dump_refcounts_place(d, err);

	table_init(&t, d, d->header.refcount_table_off, table_entries(d), 64);
	table_skip_to(&t, d->teller.opts->index);
	if (rc == 0 && t.n > n_max)
		return table_tell_unread(d, &t, 0, t.n, err);
	return rc < 0 ? rc : table_tell_rows(d, &t, dump_table_entry, 0, err);
}

/* ---- One cluster --------------------------------------------------------- */

static int tell_count(struct dump *d, const struct table *t, uint64_t host_off,
		      const struct row *row, enum copied copied,
		      struct qcow2_error *err)
{
	struct record *r = &d->record;
	uint64_t refcount = row->entry.desc;

	record_begin(r, "refcount", table_place(t, row->index));
	record_hex(r, "of-cluster", host_off);
	record_number(r, "index", row->index);
	record_number(r, "refcount", refcount);
	if (!refcount)
		record_defect(r, DEFECT_REFCOUNT_TOO_LOW);
	if (copied != COPIED_SAYS_NOTHING &&
	    (copied == COPIED_SET) != (refcount == 1))
		record_defect(r, DEFECT_COPIED_FLAG);
	return dump_tell(d, err);
}

static int one_count(struct dump *d, uint64_t block, uint64_t host_off,
		     enum copied copied, struct qcow2_error *err)
{
	uint64_t mask = (UINT64_C(1) << d->geo.refcount_block_bits) - 1;
	uint64_t index = (host_off >> d->geo.cluster_bits) & mask;
	struct table t;
	struct row row;
	int rc;

	init_block(&t, d, block);
	rc = table_get(d, &t, index, &row, err);
	if (rc == 0)
		return table_tell_unread(d, &t, index, 1, err);
	return rc < 0 ? rc : tell_count(d, &t, host_off, &row, copied, err);
}

int dump_refcount(struct dump *d, uint64_t host_off, enum copied copied,
		  struct qcow2_error *err)
{
	uint64_t index = host_off >> d->geo.cluster_bits >>
			 d->geo.refcount_block_bits;
	struct table t;
	struct row row;
	int rc;

	table_init(&t, d, d->header.refcount_table_off, table_entries(d), 64);
	rc = table_get(d, &t, index, &row, err);
	if (rc == 0)
		return table_tell_unread(d, &t, index, 1, err);
	if (rc < 0)
		return rc;
	make_table_entry(d, &t, &row);
	if (!row.entry.desc)
		record_defect(&d->record, DEFECT_REFCOUNT_TOO_LOW);
	rc = dump_tell(d, err);
	if (rc < 0 || !block_is_there(d, row.entry.desc))
		return rc;
	return one_count(d, refcount_block_off(row.entry.desc), host_off,
			 copied, err);
}
