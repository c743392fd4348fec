#include "format/bitmap.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "dump/context.h"

/* With as much extra data as is looked at. */
#define EXTRA_BYTES_MAX 4096
#define ENTRY_BYTES_MAX (BITMAP_DIR_ENTRY_BYTES + EXTRA_BYTES_MAX + 65535 + 8)

struct dump_bitmaps_walk {
	struct dump *d;
	uint8_t *buf; /* ENTRY_BYTES_MAX; what the bitmap points into */
	uint64_t off; /* of the entry */
	uint64_t end; /* of the directory, as far as the file has it */
	uint64_t index;
	bool whole; /* extra data and name are there */
	struct bitmap b;
};

static void dump_bitmaps_walk_release(struct dump_bitmaps_walk *w)
{
	free(w->buf);
}

static uint64_t directory_end(const struct dump *d)
{
	const struct bitmaps_ext *x = &d->extensions.bitmaps;
	uint64_t len = min_u64(x->directory_size, BITMAP_DIRECTORY_BYTES_MAX);
	uint64_t end;

	if (!checked_add(x->directory_off, len, &end))
		return x->directory_off;
	return min_u64(end, d->file_size);
}

static uint64_t entry_bytes(const struct bitmap *b)
{
	return align_up((uint64_t)BITMAP_DIR_ENTRY_BYTES + b->extra_len +
				b->name_len,
			8);
}

/* Decodes what is in the buffer, the beginning of an entry at least. */
static void dump_bitmaps_decode(struct dump_bitmaps_walk *w, uint64_t bytes)
{
	struct reader r = reader_init(w->buf, (size_t)bytes);
	struct fault f;

	w->b = (struct bitmap){ 0 };
	w->whole = !bitmap_decode(&w->b, &r, &f);
}

/* 1 and w->b, or 0 where the directory ends. */
static int dump_bitmaps_walk_next(struct dump_bitmaps_walk *w,
				  struct qcow2_error *err)
{
	uint64_t left = w->off < w->end ? w->end - w->off : 0;
	uint64_t bytes = BITMAP_DIR_ENTRY_BYTES;
	int rc;

	if (w->index >= w->d->extensions.bitmaps.n_bitmaps ||
	    w->index >= BITMAPS_MAX || left < bytes)
		return 0;
	rc = dump_read(w->d, w->buf, (size_t)bytes, w->off, 1, err);
	if (rc < 0)
		return rc;
	dump_bitmaps_decode(w, bytes);
	bytes = entry_bytes(&w->b);
	if (bytes > left || bytes > ENTRY_BYTES_MAX)
		return 1;
	rc = dump_read(w->d, w->buf, (size_t)bytes, w->off, 1, err);
	if (rc < 0)
		return rc;
	dump_bitmaps_decode(w, bytes);
	return 1;
}

/* ------------------------------------------------------------------------- */

int dump_bitmaps_place(struct dump *d, struct qcow2_error *err)
{
	const struct bitmaps_ext *x = &d->extensions.bitmaps;
	bool there = d->extensions.has_bitmaps;
	struct record *r = &d->record;

	record_begin(r, "bitmap-directory", there ? x->directory_off : NOWHERE);
	record_number(r, "bitmaps", x->n_bitmaps);
	record_number(r, "bytes", x->directory_size);
	record_flag(
		r, "stale",
		there && !(d->header.autoclear_features & AUTOCLEAR_BITMAPS));
	if (d->extensions.bad_bitmaps)
		record_defect(r, DEFECT_EXTENSION_BITMAPS);
	return dump_tell(d, err);
}

static void add_flags(struct record *r, uint32_t flags)
{
	record_hex(r, "flags", flags);
	record_flag(r, "in-use", flags & BITMAP_FLAG_IN_USE);
	record_flag(r, "auto", flags & BITMAP_FLAG_AUTO);
	record_flag(r, "extra-data-compatible",
		    flags & BITMAP_FLAG_EXTRA_COMPATIBLE);
}

static void add_whole(struct dump *d, const struct bitmap *b)
{
	struct fault f;

	record_text(&d->record, "name", b->name, b->name_len);
	record_bytes(&d->record, "extra-data", b->extra, b->extra_len);
	record_defect(&d->record, bitmap_validate(&d->geo, b, d->header.size,
						  d->file_size, &f));
}

static int dump_bitmaps_tell(struct dump *d, const struct dump_bitmaps_walk *w,
			     struct qcow2_error *err)
{
	const struct bitmap *b = &w->b;
	struct record *r = &d->record;

	record_begin(r, "bitmap", w->off);
	record_number(r, "index", w->index);
	record_number(r, "type", b->type);
	add_flags(r, b->flags);
	record_number(r, "granularity-bits", b->granularity_bits);
	record_hex(r, "table", b->table_off);
	record_number(r, "table-entries", b->table_size);
	record_number(r, "name-length", b->name_len);
	record_number(r, "extra-data-size", b->extra_len);
	if (w->whole)
		add_whole(d, b);
	else if (w->off + entry_bytes(b) > w->end)
		record_defect(r, DEFECT_BITMAP_DIRECTORY);
	return dump_tell(d, err);
}

static int dump_bitmaps_tell_unread(struct dump *d,
				    const struct dump_bitmaps_walk *w,
				    struct qcow2_error *err)
{
	struct record *r = &d->record;
	uint32_t n = d->extensions.bitmaps.n_bitmaps;

	if (w->index >= n)
		return 0;
	record_begin(r, "unread", w->off);
	record_number(r, "index", w->index);
	record_number(r, "count", n - w->index);
	record_flag(r, "past-end-of-file", w->off >= d->file_size);
	record_defect(r, DEFECT_BITMAP_DIRECTORY);
	return dump_tell(d, err);
}

int dump_bitmaps(struct dump *d, struct qcow2_error *err)
{
	CLEANUP(dump_bitmaps_walk_release)
	struct dump_bitmaps_walk w = {
		.d = d,
		.off = d->extensions.bitmaps.directory_off,
		.end = directory_end(d),
	};
	int rc = dump_bitmaps_place(d, err);

	w.buf = malloc(ENTRY_BYTES_MAX);
	if (!w.buf)
		return error_nomem(err, "a bitmap", ENTRY_BYTES_MAX);
	while (rc == 0 && (rc = dump_bitmaps_walk_next(&w, err)) > 0) {
		rc = dump_bitmaps_tell(d, &w, err);
		w.off += entry_bytes(&w.b);
		w.index++;
	}
	return rc < 0 ? rc : dump_bitmaps_tell_unread(d, &w, err);
}
