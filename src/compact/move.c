/*
 * Steps 1, 2 and 4 of compaction: places for clusters, copies, and the end of
 * the old ones.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "compact/compact.h"
#include "counts/used.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

enum {
	MOVES_MAX = 1024 * 1024,
	COPY_BYTES = 1024 * 1024,
};

enum { VALIDATED_MAX = 4096 };

void moves_validate(const struct moves *m)
{
	assert(m->n <= m->max && m->max <= MOVES_MAX);
	assert(implies(m->max, m->list));
	for (size_t i = 0; i < m->n && i < VALIDATED_MAX; i++) {
		const struct move *one = &m->list[i];

		/* "From the end of the file into free space nearer to its
		 * start"; nothing takes the place of the header. */
		assert(one->to && one->to < one->from);
		/* "In order of both numbers". */
		assert(implies(i, one[-!!i].from < one->from));
		assert(implies(i, one[-!!i].to < one->to));
	}
}

/* ---- Places -------------------------------------------------------------- */

/* Moves c->hole to the first free cluster, or to the goal. */
static int next_hole(struct compact *c, struct qcow2_error *err)
{
	struct refcount_walk w;
	int rc;

	refcount_walk_init(&w, &c->img->writer->refs, c->hole, c->goal);
	do
		rc = refcount_walk_next(&w, err);
	while (rc > 0 && w.count);
	if (rc < 0)
		return rc;
	c->hole = rc > 0 ? w.cluster_idx : c->goal;
	return 0;
}

/* The new cluster has as many references as the old one. */
static int move_count_same(struct compact *c, struct move *m,
			   struct qcow2_error *err)
{
	struct refcounts *r = &c->img->writer->refs;
	int rc = refcounts_get(r, m->from, &m->count, err);

	return rc < 0 ? rc : refcounts_set(r, m->count, m->to, err);
}

/* 1: there was a place; 0: there is none. */
static int add_move(struct compact *c, uint64_t from, struct qcow2_error *err)
{
	struct moves *list = &c->moves;
	struct move m = { .from = from };
	int rc = next_hole(c, err);

	assert(list->n < list->max);
	if (rc < 0 || c->hole >= min_u64(c->goal, from))
		return rc;
	m.to = c->hole;
	rc = move_count_same(c, &m, err);
	if (rc < 0)
		return rc;
	list->list[list->n++] = m;
	return 1;
}

static int move_collect(struct compact *c, const struct bitset *which,
			struct qcow2_error *err)
{
	uint64_t from = c->goal;
	int rc = 1;

	for (; rc > 0 && from < which->n_bits && c->moves.n < c->moves.max;
	     from++)
		if (bitset_test(which, from))
			rc = add_move(c, from, err);
	return rc < 0 ? rc : 0;
}

/* ---- Copies -------------------------------------------------------------- */

static int copy_run(struct compact *c, const struct move *first, uint64_t n,
		    uint8_t *buf, struct qcow2_error *err)
{
	struct image *img = c->img;
	uint32_t bits = img->geo.cluster_bits;
	int rc = store_pread(img->file, buf, to_size(n << bits),
			     first->from << bits, 0, err);

	if (rc == 0)
		rc = store_pwrite(img->file, buf, to_size(n << bits),
				  first->to << bits, 0, err);
	/* The cluster may have held a table before. */
	cache_forget(&img->map.l2, n << bits, first->to << bits);
	return rc;
}

static int move_copy_all(struct compact *c, struct qcow2_error *err)
{
	const struct moves *m = &c->moves;
	uint64_t once = max_u64(COPY_BYTES >> c->img->geo.cluster_bits, 1);
	uint64_t max = min_u64(once, m->n);
	CLEANUP_FREE uint8_t *buf = NULL;
	int rc = 0;

	if (max == 0)
		return 0;
	buf = alloc_bytes(max << c->img->geo.cluster_bits);
	if (!buf)
		return error_nomem(err, "moving clusters", COPY_BYTES);
	for (size_t i = 0; rc == 0 && i < m->n;) {
		const struct move *first = &m->list[i];
		uint64_t n = 1;

		while (n < max && i + n < m->n &&
		       first[n].from == first->from + n &&
		       first[n].to == first->to + n)
			n++;
		rc = copy_run(c, first, n, buf, err);
		i += to_size(n);
	}
	return rc;
}

/* ---- A round ------------------------------------------------------------- */

static int no_moves(struct compact *c, struct qcow2_error *err)
{
	struct moves *m = &c->moves;
	size_t max = to_size(min_u64(c->n_file, MOVES_MAX));

	m->n = 0;
	if (m->list)
		return 0;
	m->list = malloc(max * sizeof(*m->list));
	if (!m->list)
		return error_nomem(err, "the list of moves",
				   max * sizeof(*m->list));
	m->max = max;
	return 0;
}

int compact_begin_moves(struct compact *c, const struct bitset *which,
			struct qcow2_error *err)
{
	int rc = no_moves(c, err);

	if (rc == 0)
		rc = move_collect(c, which, err);
	if (rc == 0)
		rc = move_copy_all(c, err);
	if (rc < 0)
		compact_undo_moves(c);
	VALIDATE(moves, &c->moves);
	return rc;
}

/* The clusters from @from on go to those from @to on, which are taken. */
static int move_row(struct compact *c, uint64_t n, uint64_t from, uint64_t to,
		    struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = 0; i < n; i++)
		c->moves.list[c->moves.n++] =
			(struct move){ .from = from + i, .to = to + i };
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		rc = move_count_same(c, &c->moves.list[i], err);
	VALIDATE(moves, &c->moves);
	return rc < 0 ? rc : move_copy_all(c, err);
}

int compact_begin_row(struct compact *c, uint64_t n, uint64_t from,
		      struct qcow2_error *err)
{
	struct refcounts *r = &c->img->writer->refs;
	uint64_t to;
	int rc = no_moves(c, err);

	if (rc < 0 || from + n <= c->goal || n > c->moves.max)
		return rc;
	rc = refcounts_find_row(r, n, c->goal, &to, err);
	if (rc == 0)
		rc = refcounts_take(r, n, to, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = move_row(c, n, from, to, err);
	if (rc < 0)
		compact_undo_moves(c);
	return rc;
}

int compact_begin_table(struct compact *c, uint64_t off, uint64_t bytes,
			struct qcow2_error *err)
{
	const struct geometry *g = &c->img->geo;
	int rc = compact_begin_row(c, geometry_clusters(g, bytes),
				   off >> g->cluster_bits, err);

	if (rc < 0 || !c->moves.n)
		return rc;
	return commit_flush(&c->img->writer->commit, err);
}

uint64_t compact_place(const struct compact *c)
{
	assert(c->moves.n);
	return c->moves.list[0].to << c->img->geo.cluster_bits;
}

static int by_from(const void *key, const void *element)
{
	uint64_t from = *(const uint64_t *)key;
	const struct move *m = element;

	return (from > m->from) - (from < m->from);
}

const struct move *compact_find(const struct compact *c, uint64_t from)
{
	const struct moves *m = &c->moves;

	if (!m->n || from < m->list[0].from || from > m->list[m->n - 1].from)
		return NULL;
	return bsearch(&from, m->list, m->n, sizeof(*m->list), by_from);
}

int compact_end_moves(struct compact *c, struct bitset *which,
		      struct qcow2_error *err)
{
	SCOPED_VALIDATE(compact, c);
	int rc = commit_flush(&c->img->writer->commit, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < c->moves.n; i++) {
		const struct move *m = &c->moves.list[i];

		rc = refcounts_set(&c->img->writer->refs, 0, m->from, err);
		if (which) {
			bitset_clear(which, m->from);
			bitset_set(which, m->to);
		}
	}
	if (rc < 0)
		return rc;
	c->result->clusters_moved += c->moves.n;
	return commit_flush(&c->img->writer->commit, err);
}

void compact_undo_moves(struct compact *c)
{
	for (size_t i = 0; i < c->moves.n; i++)
		refcounts_set(&c->img->writer->refs, 0, c->moves.list[i].to,
			      NULL);
	c->moves.n = 0;
}
