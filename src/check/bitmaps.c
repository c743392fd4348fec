#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "base/zero.h"
#include "check/context.h"
#include "format/bitmap.h"

#define TABLE_ENTRY_BYTES 8

/* The directory in memory and where its entries are. */
struct directory {
	uint8_t *buf;
	struct bitmap *bitmaps;
	size_t n;
};

static void bad_directory(struct check *c, uint64_t off, const char *why)
{
	report_defect(&c->report, DEFECT_BITMAP_DIRECTORY, off,
		      "bitmap directory: %s", why);
}

static int check_bitmaps_walk_entry(struct check *c, uint64_t entry,
				    uint64_t entry_off, struct qcow2_error *err)
{
	struct use_claim claim = {
		.len = c->geo.cluster_size,
		.use = USE_BITMAP_DATA,
		.n = 1,
		.from = entry_off,
		.beyond = DEFECT_BITMAP_TABLE_ENTRY,
	};

	switch (bitmap_table_entry(&c->geo, entry, c->file_size, &claim.off)) {
	case BITMAP_CLUSTER_STORED:
		return claim_clusters(c, &claim, err);
	case BITMAP_CLUSTER_INVALID:
		report_defect(&c->report, DEFECT_BITMAP_TABLE_ENTRY, entry_off,
			      "the bitmap table entry 0x%016" PRIx64 " has "
			      "reserved bits or an impossible offset",
			      entry);
		return 0;
	case BITMAP_CLUSTER_ZEROS:
	case BITMAP_CLUSTER_ONES:
		break;
	}
	return 0;
}

static int check_bitmaps_walk_piece(struct check *c, const uint8_t *p,
				    size_t len, uint64_t off,
				    struct qcow2_error *err)
{
	for (size_t k = 0; k < len; k += TABLE_ENTRY_BYTES) {
		uint64_t entry = get_be64(p + k);
		int rc =
			entry ? check_bitmaps_walk_entry(c, entry, off + k, err)
			      : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_bitmaps_walk_table(struct check *c, const struct bitmap *b,
				    struct qcow2_error *err)
{
	uint64_t end =
		b->table_off + (uint64_t)b->table_size * TABLE_ENTRY_BYTES;
	uint64_t off = b->table_off;

	while (off < end) {
		size_t len = (size_t)min_u64(BULK_BYTES, end - off);
		const uint8_t *p;
		int rc;

		if (bulk_read(&c->bulk, len, len, off, &p, NULL) < 0) {
			report_unchecked(
				&c->report, 1, off,
				"bitmap table: cannot be read at 0x%" PRIx64,
				off);
			c->report.incomplete = true;
			return 0;
		}
		if (p && is_zero(p, len))
			bulk_found_empty(&c->bulk, off);
		rc = p ? check_bitmaps_walk_piece(c, p, len, off, err) : 0;
		if (rc < 0)
			return rc;
		off += len;
	}
	return 0;
}

/* Reports what the format allows, but keeps QEMU from opening the image for
 * writing. */
static void portable_findings(struct check *c, const struct bitmap *b,
			      uint64_t entry_off)
{
	uint64_t size = align_down(c->header.size, SECTOR_BYTES);
	uint64_t n = bitmap_table_entries(&c->geo, size, b->granularity_bits);

	if (!(b->flags & BITMAP_FLAG_IN_USE) && b->table_size != n)
		report_defect(&c->report, DEFECT_BITMAP_TABLE, entry_off,
			      "bitmap '%s' has %" PRIu32 " table entries: "
			      "software that takes the disk for a multiple of "
			      "512 bytes expects %" PRIu64,
			      TEXT(b->name, b->name_len), b->table_size, n);
	if (b->extra_len || (b->flags & BITMAP_FLAG_EXTRA_COMPATIBLE))
		report_note(&c->report, DEFECT_BITMAP_ENTRY, entry_off,
			    "bitmap '%s' has extra data, which not all "
			    "software knows",
			    TEXT(b->name, b->name_len));
}

/* A table that is out of place or overlaps something is not followed. */
static int check_bitmap(struct check *c, const struct bitmap *b,
			uint64_t entry_off, struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = b->table_off,
		.len = (uint64_t)b->table_size * TABLE_ENTRY_BYTES,
		.use = USE_BITMAP_TABLE,
		.n = 1,
		.from = entry_off,
		.beyond = DEFECT_BITMAP_TABLE,
	};
	struct fault fault = { 0 };
	enum defect bad;
	int rc;

	bad = bitmap_validate(&c->geo, b, c->header.size, c->file_size, &fault);
	if (bad)
		report_fault(&c->report, &fault, entry_off,
			     TEXT(b->name, b->name_len));
	if (!bad)
		portable_findings(c, b, entry_off);
	if (bad == DEFECT_BITMAP_TABLE) {
		c->report.incomplete = true;
		return 0;
	}
	if (!claim.len)
		return 0;
	rc = claim_clusters(c, &claim, err);
	if (rc > 0)
		c->report.incomplete = true;
	return rc ? rc : check_bitmaps_walk_table(c, b, err);
}

static int compare_names(const void *x, const void *y)
{
	const struct bitmap *a = x;
	const struct bitmap *b = y;

	if (a->name_len != b->name_len)
		return a->name_len < b->name_len ? -1 : 1;
	return memcmp(a->name, b->name, a->name_len);
}

static void check_names(struct check *c, struct directory *d)
{
	if (d->n < 2)
		return;
	qsort(d->bitmaps, d->n, sizeof(*d->bitmaps), compare_names);
	for (size_t i = 1; i < d->n; i++) {
		const struct bitmap *b = &d->bitmaps[i];

		if (compare_names(b - 1, b) == 0)
			report_defect(&c->report, DEFECT_BITMAP_ENTRY,
				      c->bitmaps.directory_off,
				      "two bitmaps have the name '%s'",
				      TEXT(b->name, b->name_len));
	}
}

static int walk_directory(struct check *c, struct directory *d,
			  struct qcow2_error *err)
{
	uint64_t base = c->bitmaps.directory_off;
	struct reader r =
		reader_init(d->buf, (size_t)c->bitmaps.directory_size);

	while (d->n < c->bitmaps.n_bitmaps) {
		uint64_t off = base + (uint64_t)(r.pos - d->buf);
		struct fault fault = { 0 };
		int rc;

		if (bitmap_decode(&d->bitmaps[d->n], &r, &fault)) {
			bad_directory(c, off, "an entry is cut off");
			c->report.incomplete = true;
			return 0;
		}
		rc = check_bitmap(c, &d->bitmaps[d->n++], off, err);
		if (rc < 0)
			return rc;
	}
	if (reader_left(&r))
		bad_directory(c, base + (uint64_t)(r.pos - d->buf),
			      "it has more bytes than its entries need");
	return 0;
}

static int read_directory(struct check *c, struct directory *d,
			  struct qcow2_error *err)
{
	size_t size = (size_t)c->bitmaps.directory_size;

	for (size_t at = 0; at < size;) {
		size_t len = (size_t)min_u64(BULK_BYTES, size - at);
		const uint8_t *p;
		int rc;

		rc = bulk_read(&c->bulk, len, len,
			       c->bitmaps.directory_off + at, &p, err);
		if (rc < 0)
			return rc;
		if (p)
			memcpy(d->buf + at, p, len);
		at += len;
	}
	return 0;
}

static int check_bitmaps_check_directory(struct check *c, struct directory *d,
					 struct qcow2_error *err)
{
	int rc;

	if (read_directory(c, d, NULL) < 0) {
		report_unchecked(&c->report, 1, c->bitmaps.directory_off,
				 "the bitmap directory cannot be read");
		c->report.incomplete = true;
		return 0;
	}
	rc = walk_directory(c, d, err);
	if (rc < 0)
		return rc;
	check_names(c, d);
	return 0;
}

int check_bitmaps(struct check *c, struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = c->bitmaps.directory_off,
		.len = c->bitmaps.directory_size,
		.use = USE_BITMAP_DIRECTORY,
		.n = 1,
		.from = NOWHERE,
		.beyond = DEFECT_BITMAP_DIRECTORY,
	};
	size_t size = (size_t)claim.len;
	size_t list_bytes = c->bitmaps.n_bitmaps * sizeof(struct bitmap);
	struct directory d = { 0 };
	int rc;

	if (!c->has_bitmaps)
		return 0;
	rc = claim_clusters(c, &claim, err);
	if (rc > 0)
		c->report.incomplete = true;
	if (rc)
		return rc < 0 ? rc : 0;
	d.buf = budget_alloc(&c->budget, size);
	d.bitmaps = d.buf ? budget_alloc(&c->budget, list_bytes) : NULL;
	rc = d.bitmaps ? check_bitmaps_check_directory(c, &d, err)
		       : budget_error(&c->budget, "the bitmap directory", err);
	budget_free(&c->budget, d.bitmaps, list_bytes);
	budget_free(&c->budget, d.buf, size);
	return rc < 0 ? rc : 0;
}
