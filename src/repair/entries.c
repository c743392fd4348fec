/*
 * Entries that break a rule, and still say without doubt what they mean.
 *
 * An entry is changed only if nothing is wrong with it afterwards: one that is
 * out of place besides having a stray bit keeps both, since either may be the
 * damage.
 */
#include <inttypes.h>

#include "base/checked.h"
#include "repair/tables.h"

/* A data file is not opened, so nothing is beyond its end. */
#define DATA_FILE_END VIRTUAL_SIZE_MAX

/* More rules than one entry can break, one after the other. */
#define ROUNDS_MAX 8

/* ---- L1 ------------------------------------------------------------------ */

static int repair_entries_fix_l1(void *opaque, struct repair *r,
				 const struct table_entry *at, uint64_t *entry,
				 struct qcow2_error *err)
{
	const struct geometry *g = &r->c.geo;
	uint64_t cleared = *entry & ~L1_RESERVED_MASK;

	(void)opaque;
	(void)err;
	if (cleared == *entry || l1_entry_defect(g, cleared, r->c.file_size))
		return 0;
	repair_tell(r, DEFECT_L1_ENTRY_RESERVED, at->host_off,
		    "L1 entry %" PRIu32 " was 0x%016" PRIx64
		    ": reserved bits cleared",
		    at->idx, *entry);
	*entry = cleared;
	return 0;
}

/* ---- L2 ------------------------------------------------------------------ */

/* A cluster that reads as zeros needs no place, so that a wrong one does no
 * harm. */
static bool fix_place(const struct geometry *g, struct l2_entry *e)
{
	if (g->extended_l2) {
		if (e->bitmap & SUB_ALL_ALLOC)
			return false;
		e->desc = 0;
		return true;
	}
	if (!(e->desc & L2_ZERO) || g->version < 3)
		return false;
	e->desc = L2_ZERO;
	return true;
}

/* Compressed data says by itself where it ends: sectors that the file does not
 * have are none of it. */
static bool fix_length(const struct geometry *g, uint64_t file_size,
		       struct l2_entry *e)
{
	struct compressed c = compressed_decode(g, e->desc);
	uint64_t flags = e->desc & ENTRY_COPIED;

	if (c.host_off >= file_size ||
	    !compressed_encode(g, c.host_off,
			       (uint32_t)(file_size - c.host_off), &e->desc))
		return false;
	e->desc |= flags;
	return true;
}

static bool fix_defect(const struct geometry *g, enum defect bad,
		       uint64_t file_size, struct l2_entry *e)
{
	switch (bad) {
	case DEFECT_L2_ENTRY_UNALIGNED:
		return fix_place(g, e);
	case DEFECT_L2_ENTRY_RESERVED:
		e->desc &= ~(L2_RESERVED_MASK | (g->extended_l2 ? L2_ZERO : 0));
		return true;
	case DEFECT_L2_ENTRY_COPIED_WITHOUT_OFFSET:
		e->desc &= ~ENTRY_COPIED;
		return true;
	case DEFECT_COMPRESSED_BEYOND_EOF:
		return fix_length(g, file_size, e);
	case DEFECT_L2_BITMAP_CONFLICT:
		/* Stored data is kept: zeros can be written again. */
		e->bitmap &= ~((e->bitmap & SUB_ALL_ALLOC) << 32);
		return true;
	case DEFECT_L2_BITMAP_WITHOUT_OFFSET:
		e->bitmap &= ~SUB_ALL_ALLOC;
		return true;
	case DEFECT_L2_BITMAP_COMPRESSED:
		e->bitmap = 0;
		return true;
	default:
		return false;
	}
}

static enum defect defect_of(const struct repair *r,
			     const struct table_entry *at, struct l2_entry e)
{
	const struct geometry *g = &r->c.geo;

	return l2_entry_defect(g, e, at->guest_off, r->c.file_size,
			       g->has_data_file ? DATA_FILE_END
						: r->c.file_size);
}

static int repair_entries_fix_l2(void *opaque, struct repair *r,
				 const struct table_entry *at,
				 struct l2_entry *e, struct qcow2_error *err)
{
	enum defect first = defect_of(r, at, *e);
	enum defect bad = first;
	struct l2_entry fixed = *e;

	(void)opaque;
	(void)err;
	for (int i = 0; bad && i < ROUNDS_MAX; i++) {
		if (!fix_defect(&r->c.geo, bad, r->c.file_size, &fixed))
			return 0;
		bad = defect_of(r, at, fixed);
	}
	if (!first || bad)
		return 0;
	repair_tell(r, first, at->host_off,
		    "entry %" PRIu32 " of the L2 table at 0x%" PRIx64
		    " (guest offset 0x%" PRIx64 ") was 0x%016" PRIx64
		    ", bitmap 0x%016" PRIx64 "; now 0x%016" PRIx64
		    ", 0x%016" PRIx64,
		    at->idx, at->table->host_off, at->guest_off, e->desc,
		    e->bitmap, fixed.desc, fixed.bitmap);
	*e = fixed;
	return 0;
}

/* -------------------------------------------------------------------------- */

static bool is_needed(const struct repair *r)
{
	static const enum defect repairable[] = {
		DEFECT_L1_ENTRY_RESERVED,
		DEFECT_L2_ENTRY_UNALIGNED,
		DEFECT_L2_ENTRY_RESERVED,
		DEFECT_L2_ENTRY_COPIED_WITHOUT_OFFSET,
		DEFECT_L2_BITMAP_CONFLICT,
		DEFECT_L2_BITMAP_WITHOUT_OFFSET,
		DEFECT_L2_BITMAP_COMPRESSED,
		DEFECT_COMPRESSED_BEYOND_EOF,
	};
	const size_t n = sizeof(repairable) / sizeof(repairable[0]);

	for (size_t i = 0; i < n; i++)
		if (defect_set_has(&r->c.report.found, repairable[i]))
			return true;
	return false;
}

int repair_entries(struct repair *r, struct qcow2_error *err)
{
	const struct tables_fix fix = { .l1 = repair_entries_fix_l1,
					.l2 = repair_entries_fix_l2 };
	bool changed = false;
	int rc;

	if (!is_needed(r))
		return 0;
	rc = tables_fix(r, &fix, &changed, err);
	if (!changed)
		return rc;
	r->stale = true;
	return rc < 0 ? rc : repair_barrier(r, err);
}
