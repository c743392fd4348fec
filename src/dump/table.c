#include "dump/table.h"

#include "base/checked.h"
#include "format/refcount.h"

void table_init(struct table *t, const struct dump *d, uint64_t off, uint64_t n,
		uint32_t bits)
{
	/* The last cluster need not be complete. */
	uint64_t end = align_up(d->file_size, d->geo.cluster_size);
	uint64_t room = off < d->file_size ? end - off : 0;
	/* Narrow entries are those of a block, which are few. */
	uint64_t fits = bits >= 8 ? room / (bits / 8)
				  : min_u64(room, n) * (8 / bits);

	t->off = off;
	t->n = n;
	t->n_there = min_u64(n, fits);
	t->next = 0;
	t->bits = bits;
	t->first = 0;
	t->n_piece = 0;
}

void table_skip_to(struct table *t, uint64_t index)
{
	t->next = min_u64(index, t->n);
}

uint64_t table_place(const struct table *t, uint64_t index)
{
	uint64_t place;

	/* Only narrow ones have fewer bytes than entries. */
	if (index >= t->n || !checked_add(t->off,
					  t->bits >= 8 ? index * (t->bits / 8)
						       : index / (8 / t->bits),
					  &place))
		return NOWHERE;
	return place;
}

static struct l2_entry entry_in_piece(const struct table *t, uint64_t i)
{
	struct l2_entry e = { 0 };

	if (t->bits == 128) {
		e.desc = get_be64(t->piece + 16 * i);
		e.bitmap = get_be64(t->piece + 16 * i + 8);
	} else {
		e.desc = refcount_get(t->piece, i,
				      (unsigned)__builtin_ctz(t->bits));
	}
	return e;
}

/* Pieces begin where a whole one would, so that entries do not begin within a
 * byte. */
static int dump_table_load(struct dump *d, struct table *t, uint64_t index,
			   struct qcow2_error *err)
{
	uint64_t per_piece = TABLE_PIECE_BYTES * UINT64_C(8) / t->bits;
	uint64_t n;

	if (index - t->first < t->n_piece)
		return 0;
	t->first = align_down(index, per_piece);
	n = min_u64(per_piece, t->n_there - t->first);
	t->n_piece = n;
	return dump_read(d, t->piece, (size_t)((n * t->bits + 7) / 8),
			 table_place(t, t->first), n, err);
}

int table_next(struct dump *d, struct table *t, struct row *row,
	       struct qcow2_error *err)
{
	if (t->next >= t->n_there)
		return 0;
	row->index = t->next;
	for (; t->next < t->n_there; t->next++) {
		struct l2_entry e;
		int rc = dump_table_load(d, t, t->next, err);

		if (rc < 0)
			return rc;
		e = entry_in_piece(t, t->next - t->first);
		if (t->next == row->index)
			row->entry = e;
		else if (e.desc != row->entry.desc ||
			 e.bitmap != row->entry.bitmap)
			break;
	}
	row->count = t->next - row->index;
	return 1;
}

int table_get(struct dump *d, struct table *t, uint64_t index, struct row *row,
	      struct qcow2_error *err)
{
	if (index >= t->n_there)
		return 0;
	t->n_there = index + 1;
	t->next = index;
	return table_next(d, t, row, err);
}

int table_tell_unread(struct dump *d, const struct table *t, uint64_t index,
		      uint64_t count, struct qcow2_error *err)
{
	record_begin(&d->record, "unread", table_place(t, index));
	record_row(&d->record, &(struct row){ .index = index, .count = count });
	record_flag(&d->record, "past-end-of-table", index >= t->n);
	record_flag(&d->record, "past-end-of-file",
		    index < t->n && index >= t->n_there);
	return dump_tell(d, err);
}

static int table_tell_missing(struct dump *d, const struct table *t,
			      struct qcow2_error *err)
{
	uint64_t first = max_u64(t->next, t->n_there);

	return first < t->n ? table_tell_unread(d, t, first, t->n - first, err)
			    : 0;
}

int table_tell_rows(struct dump *d, struct table *t, table_row_fn *tell,
		    uint64_t of, struct qcow2_error *err)
{
	struct row row;
	int rc;

	while ((rc = table_next(d, t, &row, err)) > 0) {
		rc = tell(d, t, of, &row, err);
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? rc : table_tell_missing(d, t, err);
}

void record_row(struct record *r, const struct row *row)
{
	record_number(r, "index", row->index);
	if (row->count != 1)
		record_number(r, "count", row->count);
}
