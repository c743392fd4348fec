#include "format/snapshot.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "dump/context.h"

/* Of an entry whose extra data has the length that is allowed. */
#define ENTRY_BYTES_MAX \
	(SNAPSHOT_HEADER_BYTES + SNAPSHOT_EXTRA_BYTES_MAX + 2 * 65535 + 8)

struct dump_snapshots_walk {
	struct dump *d;
	uint8_t *buf; /* ENTRY_BYTES_MAX; what the snapshot points into */
	uint64_t off; /* of the entry */
	uint64_t next;
	uint32_t index;
	uint32_t n;
	enum defect bad; /* what is wrong with the entry */
	struct snapshot s;
};

static void dump_snapshots_walk_release(struct dump_snapshots_walk *w)
{
	free(w->buf);
}

static int walk_begin(struct dump_snapshots_walk *w, struct dump *d,
		      struct qcow2_error *err)
{
	*w = (struct dump_snapshots_walk){
		.d = d,
		.next = d->header.snapshots_off,
		.n = (uint32_t)min_u64(d->header.n_snapshots, SNAPSHOTS_MAX),
		.index = UINT32_MAX,
	};
	w->buf = malloc(ENTRY_BYTES_MAX);
	return w->buf ? 0 : error_nomem(err, "a snapshot", ENTRY_BYTES_MAX);
}

/* Whether the entry at w->off ends in the file and in a table of the allowed
 * length. */
static bool has_room(const struct dump_snapshots_walk *w, uint64_t bytes)
{
	uint64_t begin = w->d->header.snapshots_off;

	return w->off < w->d->file_size && bytes <= w->d->file_size - w->off &&
	       w->off + bytes - begin <= SNAPSHOT_TABLE_BYTES_MAX;
}

/* The names lie behind the extra data, however much of that there is. */
static int read_rest(struct dump_snapshots_walk *w, uint64_t bytes,
		     struct qcow2_error *err)
{
	struct dump *d = w->d;
	struct fault f;
	struct reader r = reader_init(w->buf, (size_t)bytes);
	int rc = dump_read(d, w->buf, (size_t)bytes, w->off, 1, err);

	if (rc < 0)
		return rc;
	w->bad = snapshot_decode(&w->s, &r, d->header.size, &f);
	bytes = (uint64_t)SNAPSHOT_HEADER_BYTES + w->s.extra_len + w->s.id_len +
		w->s.name_len;
	w->next = w->off + align_up(bytes, 8);
	return 1;
}

/* 1 and w->s, or 0 at the end, or where the table cannot be followed. */
static int dump_snapshots_walk_next(struct dump_snapshots_walk *w,
				    struct qcow2_error *err)
{
	uint64_t bytes = SNAPSHOT_HEADER_BYTES;
	int rc;

	w->index++;
	w->off = w->next;
	if (w->index >= w->n || !has_room(w, bytes))
		return 0;
	rc = dump_read(w->d, w->buf, (size_t)bytes, w->off, 1, err);
	if (rc < 0)
		return rc;
	bytes = snapshot_entry_bytes(w->buf);
	/* The padding of the last one may be missing. */
	if (!has_room(w, bytes - 7))
		return 0;
	return read_rest(w, min_u64(bytes, w->d->file_size - w->off), err);
}

/* ------------------------------------------------------------------------- */

int dump_snapshots_place(struct dump *d, struct qcow2_error *err)
{
	record_begin(&d->record, "snapshot-table", d->header.snapshots_off);
	record_number(&d->record, "snapshots", d->header.n_snapshots);
	return dump_tell(d, err);
}

static void add_sizes(struct record *r, const struct snapshot *s)
{
	record_number(r, "vm-state-size", s->vm_state_size);
	if (s->extra_len >= SNAPSHOT_EXTRA_BYTES_V3)
		record_number(r, "disk-size", s->disk_size);
	if (s->icount != UINT64_MAX)
		record_number(r, "icount", s->icount);
	record_bytes(r, "unknown-extra-data", s->unknown_extra,
		     s->unknown_extra_len);
}

static void dump_snapshots_add_defects(struct record *r, const struct dump *d,
				       const struct dump_snapshots_walk *w)
{
	record_defect(r, w->bad);
	if (w->bad)
		return;
	record_defect(r, snapshot_l1_defect(&d->geo, &w->s, d->file_size));
	if (snapshot_lacks_extra(&w->s, d->header.version))
		record_defect(r, DEFECT_SNAPSHOT_EXTRA_MISSING);
	if (snapshot_is_misplaced(&d->geo, &w->s))
		record_defect(r, DEFECT_SNAPSHOT_L1_EMPTY);
}

static int dump_snapshots_tell(struct dump *d,
			       const struct dump_snapshots_walk *w,
			       struct qcow2_error *err)
{
	const struct snapshot *s = &w->s;
	struct record *r = &d->record;

	record_begin(r, "snapshot", w->off);
	record_number(r, "index", w->index);
	record_text(r, "id", s->id, s->id_len);
	record_text(r, "name", s->name, s->name_len);
	record_number(r, "id-length", s->id_len);
	record_number(r, "name-length", s->name_len);
	record_hex(r, "l1-table", s->l1_off);
	record_number(r, "l1-entries", s->l1_size);
	record_number(r, "date-sec", s->date_sec);
	record_number(r, "date-nsec", s->date_nsec);
	record_number(r, "vm-clock-nsec", s->vm_clock_nsec);
	record_number(r, "extra-data-size", s->extra_len);
	if (!w->bad)
		add_sizes(r, s);
	dump_snapshots_add_defects(r, d, w);
	return dump_tell(d, err);
}

/* Entries that there should be, and that cannot be found. */
static int dump_snapshots_tell_unread(struct dump *d,
				      const struct dump_snapshots_walk *w,
				      struct qcow2_error *err)
{
	struct record *r = &d->record;

	if (w->index >= d->header.n_snapshots)
		return 0;
	record_begin(r, "unread", w->off);
	record_number(r, "index", w->index);
	record_number(r, "count", d->header.n_snapshots - w->index);
	record_flag(r, "past-end-of-file", w->off >= d->file_size);
	record_defect(r, DEFECT_SNAPSHOT_TABLE);
	return dump_tell(d, err);
}

int dump_snapshots(struct dump *d, struct qcow2_error *err)
{
	CLEANUP(dump_snapshots_walk_release) struct dump_snapshots_walk w;
	int rc = walk_begin(&w, d, err);

	if (rc == 0)
		rc = dump_snapshots_place(d, err);
	while (rc == 0 && (rc = dump_snapshots_walk_next(&w, err)) > 0)
		rc = dump_snapshots_tell(d, &w, err);
	return rc < 0 ? rc : dump_snapshots_tell_unread(d, &w, err);
}

/* ---- One of them --------------------------------------------------------- */

static bool is_called(const char *text, uint16_t len, const char *wanted)
{
	return text && strlen(wanted) == len && memcmp(text, wanted, len) == 0;
}

static void dump_snapshots_choose(struct dump *d, const struct snapshot *s)
{
	d->l1 = (struct dump_l1_place){ s->l1_off, s->l1_size, s->disk_size };
}

/* An id goes before a name, as everywhere. */
int dump_choose_snapshot(struct dump *d, struct qcow2_error *err)
{
	const char *wanted = d->teller.opts->snapshot;
	CLEANUP(dump_snapshots_walk_release) struct dump_snapshots_walk w;
	bool found = false;
	int rc = walk_begin(&w, d, err);

	while (rc == 0 && (rc = dump_snapshots_walk_next(&w, err)) > 0) {
		bool is_id = is_called(w.s.id, w.s.id_len, wanted);

		rc = 0;
		if (is_id ||
		    (!found && is_called(w.s.name, w.s.name_len, wanted)))
			dump_snapshots_choose(d, &w.s);
		found = found || is_id ||
			is_called(w.s.name, w.s.name_len, wanted);
		if (is_id)
			return 0;
	}
	if (rc < 0 || found)
		return rc;
	return error_set(err, -ENOENT,
			 "no snapshot with the id or name '%s' can be found",
			 TEXT(wanted, strlen(wanted)));
}
