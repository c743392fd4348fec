/*
 * Compaction of persistent bitmaps: their data, their tables, their directory.
 *
 * Each pointer to them is eight bytes in one sector, and changes in place: the
 * old and the new place hold the same bytes and both are counted.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/memory.h"
#include "compact/compact.h"
#include "format/bitmap.h"
#include "format/extension.h"
#include "format/fault_error.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

enum {
	POINTER_BYTES = 8,
	ENTRIES_AT_ONCE = 4096,
	/* In a directory entry, and behind the head of the extension. */
	OFF_OF_TABLE = 0,
	OFF_OF_DIRECTORY = 8 + 16,
	HEADER_BYTES_MAX = 65536,
};

static int write_pointer(struct compact *c, uint64_t value, uint64_t host_off,
			 struct qcow2_error *err)
{
	uint8_t raw[POINTER_BYTES];

	put_be64(raw, value);
	return store_pwrite(c->img->file, raw, sizeof(raw), host_off, 0, err);
}

/* ---- The directory ------------------------------------------------------- */

/* @entry_off: where the entry of @b lies. */
typedef int bitmap_fn(struct compact *c, const struct bitmap *b,
		      uint64_t entry_off, void *opaque,
		      struct qcow2_error *err);

static int each_bitmap(struct compact *c, bitmap_fn *fn, void *opaque,
		       struct qcow2_error *err)
{
	const struct bitmaps *all = &c->img->bitmaps;
	CLEANUP_FREE uint8_t *buf = alloc_bytes(all->directory_bytes + 1);
	struct reader r;
	int rc;

	if (!buf)
		return error_nomem(err, "the bitmap directory",
				   all->directory_bytes);
	rc = store_pread(c->img->file, buf, to_size(all->directory_bytes),
			 all->directory_off, 0, err);
	r = reader_init(buf, to_size(all->directory_bytes));
	while (rc == 0 && reader_left(&r)) {
		uint64_t at = all->directory_bytes - reader_left(&r);
		struct bitmap b;
		struct fault fault;

		if (bitmap_decode(&b, &r, &fault))
			return fault_error(err, -EINVAL, &fault,
					   all->directory_off);
		rc = fn(c, &b, all->directory_off + at, opaque, err);
	}
	return rc;
}

/* ---- Data ---------------------------------------------------------------- */

/* Looks at one table entry; true when it has changed. */
typedef bool entry_fn(struct compact *c, uint64_t *entry, void *opaque);

static int each_entry_of_part(struct compact *c, uint64_t n, uint64_t host_off,
			      entry_fn *fn, void *opaque,
			      struct qcow2_error *err)
{
	uint8_t buf[ENTRIES_AT_ONCE * POINTER_BYTES];
	size_t bytes = to_size(n * POINTER_BYTES);
	bool changed = false;
	int rc = store_pread(c->img->file, buf, bytes, host_off, 0, err);

	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t entry = get_be64(buf + i * POINTER_BYTES);

		if (!fn(c, &entry, opaque))
			continue;
		put_be64(buf + i * POINTER_BYTES, entry);
		changed = true;
	}
	return changed ? store_pwrite(c->img->file, buf, bytes, host_off, 0,
				      err)
		       : 0;
}

static int each_entry(struct compact *c, const struct bitmap *b, entry_fn *fn,
		      void *opaque, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < b->table_size; i += ENTRIES_AT_ONCE)
		rc = each_entry_of_part(
			c, min_u64(ENTRIES_AT_ONCE, b->table_size - i),
			b->table_off + i * POINTER_BYTES, fn, opaque, err);
	return rc;
}

static uint64_t cluster_of(const struct compact *c, uint64_t entry)
{
	uint64_t host_off;

	if (bitmap_table_entry(&c->img->geo, entry, image_file_end(c->img),
			       &host_off) != BITMAP_CLUSTER_STORED)
		return 0;
	return host_off >> c->img->geo.cluster_bits;
}

static bool note(struct compact *c, uint64_t *entry, void *opaque)
{
	uint64_t cluster = cluster_of(c, *entry);

	if (cluster && cluster < c->n_file)
		bitset_set(opaque, cluster);
	return false;
}

static int note_bitmap(struct compact *c, const struct bitmap *b,
		       uint64_t entry_off, void *opaque,
		       struct qcow2_error *err)
{
	(void)entry_off;
	return each_entry(c, b, note, opaque, err);
}

static bool compact_bitmaps_follow(struct compact *c, uint64_t *entry,
				   void *opaque)
{
	uint64_t cluster = cluster_of(c, *entry);
	const struct move *m = cluster ? compact_find(c, cluster) : NULL;

	(void)opaque;
	if (m)
		*entry = m->to << c->img->geo.cluster_bits;
	return m != NULL;
}

static int follow_bitmap(struct compact *c, const struct bitmap *b,
			 uint64_t entry_off, void *opaque,
			 struct qcow2_error *err)
{
	(void)entry_off;
	return each_entry(c, b, compact_bitmaps_follow, opaque, err);
}

static int compact_bitmaps_move_data(struct compact *c, struct bitset *data,
				     struct qcow2_error *err)
{
	int rc;

	do {
		rc = compact_begin_moves(c, data, err);
		if (rc < 0 || !c->moves.n)
			return rc;
		/* Copies and refcounts, before anything points to them. */
		rc = commit_flush(&c->img->writer->commit, err);
		if (rc == 0)
			rc = each_bitmap(c, follow_bitmap, NULL, err);
		if (rc == 0)
			rc = compact_end_moves(c, data, err);
		if (rc == 0)
			rc = compact_progress(c, err);
	} while (rc == 0);
	return rc;
}

static int move_all_data(struct compact *c, struct qcow2_error *err)
{
	struct bitset data;
	int rc;

	if (!bitset_init(&data, c->n_file))
		return error_nomem(err, "the set of clusters", c->n_file / 8);
	rc = each_bitmap(c, note_bitmap, &data, err);
	if (rc == 0)
		rc = compact_bitmaps_move_data(c, &data, err);
	bitset_release(&data);
	return rc;
}

/* ---- Tables -------------------------------------------------------------- */

static int compact_bitmaps_move_table(struct compact *c, const struct bitmap *b,
				      uint64_t entry_off, void *opaque,
				      struct qcow2_error *err)
{
	int rc = compact_begin_table(
		c, b->table_off, (uint64_t)b->table_size * POINTER_BYTES, err);

	(void)opaque;
	if (rc < 0 || !c->moves.n)
		return rc;
	rc = write_pointer(c, compact_place(c), entry_off + OFF_OF_TABLE, err);
	return rc < 0 ? rc : compact_end_moves(c, NULL, err);
}

/* ---- The directory's own place ------------------------------------------- */

/* Finds the header's pointer to the directory; 0 when there is none. */
static int find_extension(struct compact *c, uint64_t *pointer_off,
			  struct qcow2_error *err)
{
	const struct image *img = c->img;
	size_t len = (size_t)min_u64(img->geo.cluster_size, HEADER_BYTES_MAX);
	CLEANUP_FREE uint8_t *buf = malloc(len);
	struct extension_iter it;
	struct extension x;
	struct fault fault;
	int rc;

	*pointer_off = 0;
	if (!buf)
		return error_nomem(err, "header extensions", len);
	rc = store_pread(img->file, buf, len, 0, 0, err);
	if (rc < 0)
		return rc;
	extension_iter_init(&it, &img->header, buf, len);
	while (extension_next(&it, &x, &fault))
		if (x.type == EXT_BITMAPS)
			*pointer_off = x.off + OFF_OF_DIRECTORY;
	return 0;
}

static int move_directory(struct compact *c, struct qcow2_error *err)
{
	struct bitmaps *all = &c->img->bitmaps;
	struct guard *guard = &c->img->writer->guard;
	uint64_t old = all->directory_off;
	uint64_t pointer_off, to;
	int rc = find_extension(c, &pointer_off, err);

	if (rc < 0 || !pointer_off)
		return rc;
	rc = compact_begin_table(c, old, all->directory_bytes, err);
	if (rc < 0 || !c->moves.n)
		return rc;
	to = compact_place(c);
	rc = guard_add(guard, QCOW2_OVERLAP_BITMAP_DIRECTORY,
		       all->directory_bytes, to, err);
	if (rc == 0)
		rc = write_pointer(c, to, pointer_off, err);
	if (rc < 0)
		return rc;
	all->directory_off = to;
	put_be64(c->img->names.cluster0 + pointer_off, to);
	guard_remove(guard, QCOW2_OVERLAP_BITMAP_DIRECTORY,
		     all->directory_bytes, old);
	return compact_end_moves(c, NULL, err);
}

int compact_move_bitmaps(struct compact *c, struct qcow2_error *err)
{
	int rc;

	if (!c->img->bitmaps.directory_bytes)
		return 0;
	rc = move_directory(c, err);
	if (rc == 0)
		rc = each_bitmap(c, compact_bitmaps_move_table, NULL, err);
	return rc < 0 ? rc : move_all_data(c, err);
}
