#include "repair/tables.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/memory.h"
#include "base/zero.h"
#include "store/store.h"

#define PIECE_BYTES_MAX (UINT64_C(1) << CLUSTER_BITS_MAX)
#define SECTORS_MAX (PIECE_BYTES_MAX / SECTOR_BYTES)

/* A piece of a table of which some sectors have changed. */
struct repair_tables_piece {
	uint64_t host_off;
	size_t len;
	uint8_t *buf;
	bool loaded; /* buf holds the piece */
	bool changed[SECTORS_MAX];
};

struct tables_walk {
	struct repair *r;
	const struct tables_fix *fix;
	struct repair_tables_piece *piece;
	bool changed;
};

/* ---- Pieces -------------------------------------------------------------- */

static void piece_begin(struct repair_tables_piece *p, uint64_t host_off,
			size_t len)
{
	p->host_off = host_off;
	p->len = len;
	p->loaded = false;
}

/* The bytes to change at @at; @from: what the piece was read as. */
static uint8_t *piece_change(struct repair_tables_piece *p, const uint8_t *from,
			     size_t at)
{
	if (!p->loaded) {
		memcpy(p->buf, from, p->len);
		memset(p->changed, 0, sizeof(p->changed));
		p->loaded = true;
	}
	p->changed[at / SECTOR_BYTES] = true;
	return p->buf + at;
}

/* The beginning of sector @n_sectors, or the end of the piece. */
static size_t piece_end(const struct repair_tables_piece *p, size_t n_sectors)
{
	return n_sectors * SECTOR_BYTES < p->len ? n_sectors * SECTOR_BYTES
						 : p->len;
}

/* Neighbouring sectors are written together; each is whole or not at all. */
static int piece_write(const struct tables_walk *w, struct qcow2_error *err)
{
	const struct repair_tables_piece *p = w->piece;
	size_t n = to_size(div_round_up(p->len, SECTOR_BYTES));
	int rc = 0;

	for (size_t i = 0, end; p->loaded && rc == 0 && i < n; i = end + 1) {
		size_t from = i * SECTOR_BYTES;

		for (end = i; end < n && p->changed[end]; end++)
			continue;
		if (end > i)
			rc = store_pwrite(w->r->file, p->buf + from,
					  piece_end(p, end) - from,
					  p->host_off + from, 0, err);
	}
	return rc;
}

/* ---- L1 ------------------------------------------------------------------ */

static bool repair_tables_may_change(const struct tables_walk *w,
				     uint64_t host_off)
{
	if (w->fix->may_change)
		return w->fix->may_change(w->fix->opaque, w->r, host_off);
	return repair_is_sole(w->r, host_off);
}

static int walk_l1_piece(struct tables_walk *w, const struct l1_place *l1,
			 const uint8_t *p, uint32_t first,
			 struct qcow2_error *err)
{
	for (size_t k = 0; k < w->piece->len; k += L1_ENTRY_BYTES) {
		uint64_t old = get_be64(p + k);
		uint64_t new = old;
		struct table_entry at = {
			.host_off = w->piece->host_off + k,
			.idx = first + (uint32_t)(k / L1_ENTRY_BYTES),
			.l1 = l1,
		};
		int rc;

		if (!old || !repair_is_sole(w->r, at.host_off))
			continue;
		rc = w->fix->l1(w->fix->opaque, w->r, &at, &new, err);
		if (rc < 0)
			return rc;
		if (new != old)
			put_be64(piece_change(w->piece, p, k), new);
	}
	return 0;
}

static int walk_l1(struct tables_walk *w, const struct l1_place *l1,
		   struct qcow2_error *err)
{
	uint64_t end = l1->off + (uint64_t)l1->n_entries * L1_ENTRY_BYTES;
	uint64_t off = l1->off;

	while (off < end) {
		size_t len = (size_t)min_u64(BULK_BYTES, end - off);
		uint32_t first = (uint32_t)((off - l1->off) / L1_ENTRY_BYTES);
		const uint8_t *p;

		/* Parts that cannot be read are left as they are. */
		if (bulk_read(&w->r->c.bulk, len, len, off, &p, NULL) == 0 &&
		    p && !is_zero(p, len)) {
			int rc;

			piece_begin(w->piece, off, len);
			rc = walk_l1_piece(w, l1, p, first, err);
			if (rc == 0)
				rc = piece_write(w, err);
			if (rc < 0)
				return rc;
			w->changed |= w->piece->loaded;
		}
		off += len;
	}
	return 0;
}

/* ---- L2 ------------------------------------------------------------------ */

static int walk_l2_piece(struct tables_walk *w, const struct l2_table *table,
			 const uint8_t *p, struct qcow2_error *err)
{
	const struct geometry *g = &w->r->c.geo;
	uint64_t reach = geometry_l2_reach(g);
	uint32_t n = (uint32_t)geometry_l2_entries(g);

	for (uint32_t i = 0; i < n; i++) {
		struct l2_entry old = l2_get(g, p, i);
		struct l2_entry new = old;
		size_t k = (size_t)i * g->l2_entry_bytes;
		struct table_entry at = {
			.host_off = table->host_off + k,
			.idx = i,
			.table = table,
			.guest_off = table->l1_idx * reach +
				     ((uint64_t)i << g->cluster_bits),
		};
		int rc;

		if (!old.desc && !old.bitmap)
			continue;
		rc = w->fix->l2(w->fix->opaque, w->r, &at, &new, err);
		if (rc < 0)
			return rc;
		if (new.desc != old.desc || new.bitmap != old.bitmap)
			l2_put(g, piece_change(w->piece, p, k), 0, new);
	}
	return 0;
}

static int walk_l2(struct tables_walk *w, const struct l2_table *table,
		   struct qcow2_error *err)
{
	size_t len = w->r->c.geo.cluster_size;
	const uint8_t *p;
	int rc;

	if (!repair_tables_may_change(w, table->host_off) ||
	    bulk_read(&w->r->c.bulk, len, BULK_BYTES, table->host_off, &p,
		      NULL) < 0 ||
	    !p || is_zero(p, len))
		return 0;
	piece_begin(w->piece, table->host_off, len);
	rc = walk_l2_piece(w, table, p, err);
	if (rc == 0)
		rc = piece_write(w, err);
	w->changed |= w->piece->loaded;
	return rc;
}

/* -------------------------------------------------------------------------- */

static int repair_tables_walk(struct tables_walk *w, struct qcow2_error *err)
{
	const struct check *c = &w->r->c;
	int rc = 0;

	for (size_t i = 0; w->fix->l1 && rc == 0 && i < c->l1_tables.n; i++)
		rc = walk_l1(w, &c->l1_tables.places[i], err);
	for (size_t i = 0; w->fix->l2 && rc == 0 && i < c->l2_tables.n_tables;
	     i++)
		rc = walk_l2(w, &c->l2_tables.tables[i], err);
	return rc;
}

int tables_fix(struct repair *r, const struct tables_fix *fix, bool *changed,
	       struct qcow2_error *err)
{
	size_t buf_len = (size_t)max_u64(BULK_BYTES, r->c.geo.cluster_size);
	struct tables_walk w = { .r = r, .fix = fix };
	uint8_t *buf = budget_alloc(&r->c.budget, buf_len);
	int rc;

	w.piece = budget_alloc(&r->c.budget, sizeof(*w.piece));
	if (buf && w.piece) {
		w.piece->buf = buf;
		rc = repair_tables_walk(&w, err);
	} else {
		rc = budget_error(&r->c.budget, "a table", err);
	}
	budget_free(&r->c.budget, w.piece, sizeof(*w.piece));
	budget_free(&r->c.budget, buf, buf_len);
	*changed |= w.changed;
	return rc;
}
