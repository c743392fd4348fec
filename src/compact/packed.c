#include "compact/packed.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

enum { COPY_BYTES = 1024 * 1024, WORD_BITS = 64 };

/* ---- Where it begins ----------------------------------------------------- */

static uint64_t count_clusters(const struct compact *c)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i <= c->packed.n_bits / WORD_BITS; i++)
		n += packed_popcount(c->packed.words[i]);
	return n;
}

bool compact_packed_any(const struct compact *c)
{
	return count_clusters(c) != 0;
}

static bool any_behind(const struct compact *c, uint64_t cluster)
{
	for (uint64_t i = cluster; i < c->packed.n_bits; i++)
		if (bitset_test(&c->packed, i))
			return true;
	return false;
}

static bool is_possible(const struct compact *c, enum packed_aim aim)
{
	uint32_t bits = c->img->geo.cluster_bits - PACKED_SECTOR_BITS;
	uint64_t n = count_clusters(c);

	if (!n || n > PACKED_CLUSTERS_MAX || n << bits > PACKED_SECTORS_MAX)
		return false;
	return aim == PACKED_GAPS || aim == PACKED_SPARSE
		       ? bits > 0
		       : any_behind(c, c->goal);
}

static int packed_make_plan(struct packed *p, struct compact *c,
			    enum packed_aim aim, size_t *n_moves,
			    uint64_t *n_emptied, struct qcow2_error *err)
{
	int rc = packed_scan(p, c, err);

	*n_moves = 0;
	*n_emptied = 0;
	if (rc < 0)
		return rc;
	rc = packed_collect(p, aim, err);
	if (rc == 0 && p->n_pieces)
		rc = packed_plan(p, aim, n_moves, n_emptied, err);
	return rc;
}

int compact_packed_predict(struct compact *c, enum packed_aim aim,
			   uint64_t *n_emptied, struct qcow2_error *err)
{
	struct packed p;
	size_t n_moves;
	int rc;

	*n_emptied = 0;
	if (!is_possible(c, aim))
		return 0;
	rc = packed_make_plan(&p, c, aim, &n_moves, n_emptied, err);
	if (*n_emptied > p.n_fresh)
		c->goal -= *n_emptied - p.n_fresh;
	packed_release(&p);
	return rc;
}

/* ---- References ---------------------------------------------------------- */

static int packed_add_refs(struct packed *p, const struct packed_piece *q,
			   struct qcow2_error *err)
{
	struct refcounts *r = p->c->refs;
	uint64_t last = packed_last_cluster(p, q->to, q->len);
	uint64_t k = q->to >> p->c->img->geo.cluster_bits;
	int rc = 0;

	for (; rc == 0 && k <= last; k++) {
		uint64_t count;

		rc = refcounts_get(r, k, &count, err);
		if (rc == 0)
			rc = refcounts_set(r, count + q->refs, k, err);
	}
	return rc;
}

static int drop_refs(struct packed *p, const struct packed_piece *q,
		     uint64_t host_off, struct qcow2_error *err)
{
	struct refcounts *r = p->c->refs;
	uint64_t last = packed_last_cluster(p, host_off, q->len);
	uint64_t k = host_off >> p->c->img->geo.cluster_bits;
	int rc = 0;

	for (; rc == 0 && k <= last; k++) {
		uint64_t count;

		rc = refcounts_get(r, k, &count, err);
		if (rc == 0)
			rc = refcounts_set(r, count - min_u64(count, q->refs),
					   k, err);
	}
	return rc;
}

static void packed_undo(struct packed *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p->pieces[i].to)
			drop_refs(p, &p->pieces[i], p->pieces[i].to, NULL);
}

static int packed_take(struct packed *p, struct qcow2_error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->n_pieces; i++) {
		if (p->pieces[i].to)
			rc = packed_add_refs(p, &p->pieces[i], err);
		if (rc < 0)
			packed_undo(p, i);
	}
	return rc;
}

/* ---- Bytes --------------------------------------------------------------- */

/* Sectors that are copied as one. */
struct stretch {
	uint64_t from; /* host offsets */
	uint64_t end;
	uint64_t to;
};

static int copy_stretch(struct packed *p, const struct stretch *s, uint8_t *buf,
			struct qcow2_error *err)
{
	struct image *img = p->c->img;
	int rc = 0;

	for (uint64_t at = s->from; rc == 0 && at < s->end; at += COPY_BYTES) {
		uint64_t n = min_u64(COPY_BYTES, s->end - at);

		rc = store_pread(img->file, buf, to_size(n), at, 0, err);
		if (rc == 0)
			rc = store_pwrite(img->file, buf, to_size(n),
					  s->to + (at - s->from), 0, err);
	}
	compressed_forget(&img->compressed, s->end - s->from, s->to);
	return rc;
}

static struct stretch stretch_of(const struct packed_piece *q)
{
	struct stretch s = {
		.from = align_down(q->host_off, SECTOR_BYTES),
		.end = q->host_off + q->len,
		.to = align_down(q->to, SECTOR_BYTES),
	};

	return s;
}

/* One that follows and goes to where the other leaves off. */
static bool extend(struct stretch *s, struct stretch next)
{
	if (next.from > s->end || next.from - s->from != next.to - s->to)
		return false;
	s->end = max_u64(s->end, next.end);
	return true;
}

/* Tables may have lain in what was free. */
static void forget_tables(struct packed *p, const struct packed_piece *q)
{
	struct image *img = p->c->img;
	uint64_t first = align_down(q->to, img->geo.cluster_size);
	uint64_t end = align_up(q->to + q->len, img->geo.cluster_size);

	cache_forget(&img->map.l2, end - first, first);
}

static int packed_copy_all(struct packed *p, struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(COPY_BYTES);
	struct stretch s = { 0 };
	int rc = 0;

	if (!buf)
		return error_nomem(err, "moving compressed data", COPY_BYTES);
	for (size_t i = 0; rc == 0 && i < p->n_pieces; i++) {
		struct stretch next = stretch_of(&p->pieces[i]);

		if (!p->pieces[i].to)
			continue;
		forget_tables(p, &p->pieces[i]);
		if (extend(&s, next))
			continue;
		rc = copy_stretch(p, &s, buf, err);
		s = next;
	}
	return rc < 0 ? rc : copy_stretch(p, &s, buf, err);
}

/* ---- A round ------------------------------------------------------------- */

uint64_t compact_packed_find(const struct compact *c, uint64_t desc)
{
	const struct geometry *g = &c->img->geo;
	struct compressed z = compressed_decode(g, desc);
	const struct packed_piece *q =
		c->pieces ? packed_piece(c->pieces, z.host_off, z.len) : NULL;

	if (!q || !q->to || !compressed_encode(g, q->to, z.len, &desc))
		return 0;
	return desc & L2_COMPRESSED_MASK;
}

/* Nothing points to the old places any more. */
static int packed_leave(struct packed *p, struct qcow2_error *err)
{
	struct compact *c = p->c;
	int rc = commit_flush(&c->img->writer->commit, err);

	for (size_t i = 0; rc == 0 && i < p->n_pieces; i++) {
		const struct packed_piece *q = &p->pieces[i];
		uint64_t k = q->to >> c->img->geo.cluster_bits;

		if (!q->to)
			continue;
		for (; k <= packed_last_cluster(p, q->to, q->len); k++)
			bitset_set(&c->packed, k);
		rc = drop_refs(p, q, q->host_off, err);
	}
	return rc < 0 ? rc : commit_flush(&c->img->writer->commit, err);
}

static int move(struct packed *p, struct qcow2_error *err)
{
	int rc = packed_take(p, err);

	if (rc < 0)
		return rc;
	rc = packed_copy_all(p, err);
	if (rc < 0) {
		packed_undo(p, p->n_pieces);
		return rc;
	}
	rc = compact_repoint_entries(p->c, err);
	return rc < 0 ? rc : packed_leave(p, err);
}

static int round_of(struct compact *c, enum packed_aim aim, size_t *n_moves,
		    struct qcow2_error *err)
{
	struct packed p;
	uint64_t n_emptied;
	int rc = packed_make_plan(&p, c, aim, n_moves, &n_emptied, err);

	if (rc == 0 && *n_moves)
		rc = move(&p, err);
	packed_release(&p);
	if (rc < 0 || !*n_moves)
		return rc;
	c->result->clusters_moved += n_emptied;
	return compact_progress(c, err);
}

int compact_packed_move(struct compact *c, enum packed_aim aim,
			struct qcow2_error *err)
{
	size_t n_moves = 1;
	int rc = 0;

	while (rc == 0 && n_moves && is_possible(c, aim))
		rc = round_of(c, aim, &n_moves, err);
	return rc;
}
