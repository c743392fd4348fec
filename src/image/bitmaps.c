#include "image/bitmaps.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/range.h"
#include "store/store.h"

static void entry_validate(const struct bitmap_entry *e)
{
	assert(e->name);
	assert(!(e->flags & ~(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO)));
	assert(e->granularity_bits >= BITMAP_GRANULARITY_BITS_MIN &&
	       e->granularity_bits <= BITMAP_GRANULARITY_BITS_MAX);
}

void bitmaps_validate(const struct bitmaps *b)
{
	/* "A directory that does not decode counts as no bitmaps". */
	assert(implies(b->defect, b->n == 0));
	assert(implies(b->n, b->list));
	assert((uint64_t)b->n * BITMAP_DIR_ENTRY_BYTES <= b->directory_bytes);
	assert(implies(b->directory_bytes, b->directory_off));
	for (uint32_t i = 0; i < b->n; i++)
		entry_validate(&b->list[i]);
}

static uint32_t public_flags(const struct bitmap *b)
{
	uint32_t flags = 0;

	if (b->flags & BITMAP_FLAG_IN_USE)
		flags |= QCOW2_BITMAP_IN_USE;
	if (b->flags & BITMAP_FLAG_AUTO)
		flags |= QCOW2_BITMAP_AUTO;
	return flags;
}

static int image_bitmaps_add(struct bitmaps *b, const struct bitmap *entry,
			     struct qcow2_error *err)
{
	struct bitmap_entry *e = &b->list[b->n];

	e->name = calloc(1, (size_t)entry->name_len + 1);
	if (!e->name)
		return error_nomem(err, "a bitmap's name",
				   entry->name_len + UINT64_C(1));
	memcpy(e->name, entry->name, entry->name_len);
	e->flags = public_flags(entry);
	e->granularity_bits = entry->granularity_bits;
	b->n++;
	return 0;
}

/* The entries must fill the directory exactly. */
static int decode_all(struct bitmaps *b, const struct geometry *g,
		      const struct header *h, uint32_t n, struct reader *r,
		      uint64_t file_size, struct qcow2_error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		struct bitmap entry;
		struct fault fault;
		int rc;

		b->defect = bitmap_decode(&entry, r, &fault);
		if (!b->defect)
			b->defect = bitmap_validate(g, &entry, h->size,
						    file_size, &fault);
		if (b->defect)
			return 0;
		rc = image_bitmaps_add(b, &entry, err);
		if (rc < 0)
			return rc;
	}
	if (reader_left(r))
		b->defect = DEFECT_BITMAP_DIRECTORY;
	return 0;
}

/* The list, and the directory as it is in the file: the names are what stays of
 * it, and take no more. */
static int image_bitmaps_take(struct metadata_budget *budget,
			      const struct bitmaps_ext *x,
			      struct qcow2_error *err)
{
	return metadata_budget_take(budget,
				    x->directory_size +
					    (uint64_t)x->n_bitmaps *
						    sizeof(struct bitmap_entry),
				    "the bitmap directory", err);
}

int bitmaps_open(struct bitmaps *b, const struct geometry *g,
		 const struct header *h, const struct extensions *x,
		 struct qcow2_store *file, uint64_t file_size,
		 struct metadata_budget *budget, struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	uint64_t off = x->bitmaps.directory_off;
	uint64_t len = x->bitmaps.directory_size;
	struct reader r;
	int rc;

	if (x->bad_bitmaps)
		b->defect = DEFECT_EXTENSION_BITMAPS;
	if (!(h->autoclear_features & AUTOCLEAR_BITMAPS) || !x->has_bitmaps ||
	    x->bad_bitmaps)
		return 0;
	if (!range_is_sane(off, len) || off + len > file_size ||
	    x->bitmaps.n_bitmaps > len / BITMAP_DIR_ENTRY_BYTES) {
		b->defect = DEFECT_BITMAP_DIRECTORY;
		return 0;
	}
	rc = image_bitmaps_take(budget, &x->bitmaps, err);
	if (rc < 0)
		return rc;
	b->directory_off = off;
	b->directory_bytes = len;
	buf = alloc_bytes(len);
	b->list = calloc(x->bitmaps.n_bitmaps, sizeof(*b->list));
	if (!buf || !b->list)
		return error_nomem(err, "the bitmap directory", len);
	rc = store_pread(file, buf, to_size(len), off, 0, err);
	if (rc < 0)
		return rc;
	r = reader_init(buf, to_size(len));
	rc = decode_all(b, g, h, x->bitmaps.n_bitmaps, &r, file_size, err);
	if (b->defect)
		bitmaps_release(b);
	VALIDATE(bitmaps, b);
	return rc;
}

void bitmaps_release(struct bitmaps *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		free(b->list[i].name);
	free(b->list);
	b->list = NULL;
	b->n = 0;
}
