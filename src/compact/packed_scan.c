/*
 * The compressed data of an image, for compaction: how often each L2 table
 * counts, the sectors in use, the pieces that may move.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "compact/packed.h"
#include "image/image.h"
#include "store/store.h"
#include "write/l1_grow.h"
#include "write/tree.h"
#include "write/writer.h"

enum {
	PIECES_MAX = 512 * 1024,
	PIECES_MIN = 512, /* PIECES_MAX by some power of two */
	RANK_BLOCK = 512, /* clusters between two known ranks */
	WORD_BITS = 64,
};

/* ---- Ranks --------------------------------------------------------------- */

uint64_t packed_rank(const struct packed *p, uint64_t cluster_idx)
{
	const uint64_t *words = p->c->packed.words;
	uint64_t block = cluster_idx / RANK_BLOCK;
	uint64_t last = cluster_idx / WORD_BITS;
	uint64_t below = (UINT64_C(1) << (cluster_idx % WORD_BITS)) - 1;
	uint64_t rank = p->ranks_before[block];

	for (uint64_t i = block * RANK_BLOCK / WORD_BITS; i < last; i++)
		rank += packed_popcount(words[i]);
	return rank + packed_popcount(words[last] & below);
}

static int count_ranks(struct packed *p, struct qcow2_error *err)
{
	const struct bitset *set = &p->c->packed;
	uint64_t n = set->n_bits / RANK_BLOCK + 1;

	p->ranks_before = alloc_zeroed(n, sizeof(*p->ranks_before));
	if (!p->ranks_before)
		return error_nomem(err, "clusters with compressed data",
				   n * sizeof(*p->ranks_before));
	for (uint64_t i = 0; i <= set->n_bits / WORD_BITS; i++) {
		if (i % (RANK_BLOCK / WORD_BITS) == 0)
			p->ranks_before[i * WORD_BITS / RANK_BLOCK] =
				p->n_ranks;
		p->n_ranks += packed_popcount(set->words[i]);
	}
	return 0;
}

static int packed_scan_make_room(struct packed *p, struct qcow2_error *err)
{
	uint64_t n = p->n_ranks + 1;

	p->refs = alloc_zeroed(n, sizeof(*p->refs));
	p->leaving = alloc_zeroed(n, sizeof(*p->leaving));
	p->coming = alloc_zeroed(n, sizeof(*p->coming));
	p->buf = malloc(p->c->img->geo.cluster_size);
	if (!p->refs || !p->leaving || !p->coming || !p->buf ||
	    !bitset_init(&p->used, n << packed_shift(p)))
		return error_nomem(err, "compressed data",
				   n * sizeof(*p->refs) * 3);
	return 0;
}

enum { VALIDATED_MAX = 4096 };

static int by_place(const void *a, const void *b);

static void packed_scan_piece_validate(const struct packed_piece *q)
{
	assert(q->len && q->refs);
	/* "Pieces only move towards the start of the file", and "a piece keeps
	 * its place in its first sector". */
	assert(implies(q->to,
		       q->to < q->host_off &&
			       (q->to - q->host_off) % SECTOR_BYTES == 0));
}

static void ranks_validate(const struct packed *p)
{
	assert(p->n_ranks <= p->c->n_file);
	assert(p->used.n_bits == (p->n_ranks + 1) << packed_shift(p));
	assert(implies(p->chosen.words, p->chosen.n_bits == p->n_ranks));
	for (uint64_t i = 0; i < p->n_ranks && i < VALIDATED_MAX; i++)
		assert(p->leaving[i] <= p->refs[i]);
}

void packed_validate(const struct packed *p)
{
	assert(p->c->pieces == p);
	assert(p->n_tables <= p->tables_max && p->n_pieces <= p->pieces_max);
	assert(p->pieces_max <= PIECES_MAX);
	ranks_validate(p);
	for (size_t i = 0; i < p->n_pieces && i < VALIDATED_MAX; i++) {
		packed_scan_piece_validate(&p->pieces[i]);
		/* "In order of offset, then length". */
		assert(i == 0 ||
		       by_place(&p->pieces[i - 1], &p->pieces[i]) < 0);
		assert(p->pieces[i].host_off >= p->low);
	}
}

/* ---- How often a table counts -------------------------------------------- */

static struct packed *packed_of(struct compact *c)
{
	return c->pieces;
}

static int add_table(struct compact *c, uint64_t table_off,
		     struct qcow2_error *err)
{
	struct packed *p = packed_of(c);
	size_t max = p->tables_max ? 2 * p->tables_max : 256;
	struct table_weight *more;

	if (p->n_tables == p->tables_max) {
		more = realloc(p->tables, max * sizeof(*more));
		if (!more)
			return error_nomem(err, "the list of L2 tables",
					   max * sizeof(*more));
		p->tables = more;
		p->tables_max = max;
	}
	p->tables[p->n_tables++] =
		(struct table_weight){ .table_off = table_off };
	return 0;
}

static int by_table(const void *a, const void *b)
{
	const struct table_weight *x = a;
	const struct table_weight *y = b;

	return (x->table_off > y->table_off) - (x->table_off < y->table_off);
}

static struct table_weight *find_table(struct packed *p, uint64_t table_off)
{
	struct table_weight key = { .table_off = table_off };

	return p->n_tables ? bsearch(&key, p->tables, p->n_tables, sizeof(key),
				     by_table)
			   : NULL;
}

static int weigh_l1(struct packed *p, uint64_t n, uint64_t l1_off,
		    struct qcow2_error *err)
{
	struct tree t;
	int rc = tree_read(&t, p->c->img, n, l1_off, err);

	for (uint64_t i = 0; rc == 0 && i < t.n_l1; i++) {
		uint64_t off = l1_table_off(t.l1[i]);
		struct table_weight *w = off ? find_table(p, off) : NULL;

		if (w)
			w->n++;
	}
	tree_release(&t);
	return rc;
}

static int weigh_tables(struct packed *p, struct qcow2_error *err)
{
	struct image *img = p->c->img;
	int rc = compact_each_table(p->c, add_table, err);

	if (rc < 0)
		return rc;
	if (p->n_tables)
		qsort(p->tables, p->n_tables, sizeof(*p->tables), by_table);
	rc = weigh_l1(p, l1_entries_in_file(img), img->header.l1_off, err);
	for (uint32_t i = 0; rc == 0 && i < img->snapshots.n; i++)
		rc = weigh_l1(p, img->snapshots.list[i].l1_size,
			      img->snapshots.list[i].l1_off, err);
	return rc;
}

/* ---- All pieces ---------------------------------------------------------- */

static int each_in_table(struct compact *c, uint64_t table_off,
			 struct qcow2_error *err)
{
	const struct geometry *g = &c->img->geo;
	struct packed *p = packed_of(c);
	const struct table_weight *w = find_table(p, table_off);
	int rc = store_pread(c->img->file, p->buf, g->cluster_size, table_off,
			     0, err);

	for (uint64_t i = 0; rc == 0 && i < geometry_l2_entries(g); i++) {
		struct l2_entry e = l2_get(g, p->buf, i);
		struct compressed z;

		if (!(e.desc & L2_COMPRESSED) || !w)
			continue;
		z = compressed_decode(g, e.desc);
		rc = p->each(p, z.host_off, z.len, w->n, err);
	}
	return rc;
}

uint64_t packed_last_cluster(const struct packed *p, uint64_t host_off,
			     uint32_t len)
{
	assert(len);
	return (host_off + len - 1) >> p->c->img->geo.cluster_bits;
}

/* In use: the sectors of a piece, as far as the file reaches. */
static int packed_scan_use(struct packed *p, uint64_t host_off, uint32_t len,
			   uint64_t refs, struct qcow2_error *err)
{
	uint32_t shift = packed_shift(p);
	uint64_t in_cluster = (UINT64_C(1) << shift) - 1;
	uint64_t end = (host_off + len - 1) / SECTOR_BYTES + 1;
	uint64_t s = host_off / SECTOR_BYTES;

	while (s < end && s >> shift < p->c->n_file) {
		uint64_t stop = min_u64((s | in_cluster) + 1, end);
		uint64_t rank;

		if (!bitset_test(&p->c->packed, s >> shift))
			return error_set(err, -EIO,
					 "compressed data at %" PRIu64
					 " has come while the image was "
					 "being compacted",
					 host_off);
		rank = packed_rank(p, s >> shift);
		p->refs[rank] += refs;
		for (; s < stop; s++)
			bitset_set(&p->used,
				   (rank << shift) + (s & in_cluster));
	}
	return 0;
}

int packed_scan(struct packed *p, struct compact *c, struct qcow2_error *err)
{
	int rc;

	assert(!c->pieces);
	*p = (struct packed){ .c = c, .each = packed_scan_use };
	c->pieces = p;
	rc = count_ranks(p, err);
	if (rc == 0)
		rc = packed_scan_make_room(p, err);
	if (rc == 0)
		rc = weigh_tables(p, err);
	return rc < 0 ? rc : compact_each_table(c, each_in_table, err);
}

void packed_release(struct packed *p)
{
	p->c->pieces = NULL;
	free(p->ranks_before);
	bitset_release(&p->used);
	bitset_release(&p->chosen);
	free(p->refs);
	free(p->leaving);
	free(p->coming);
	free(p->tables);
	free(p->buf);
	free(p->pieces);
}

/* ---- Those that may move ------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct packed_piece *x = a;
	const struct packed_piece *y = b;

	if (x->host_off != y->host_off)
		return x->host_off > y->host_off ? 1 : -1;
	return (x->len > y->len) - (x->len < y->len);
}

/* Each descriptor once, with all its references. */
static void sort_pieces(struct packed *p)
{
	size_t n = 0;

	if (p->n_pieces)
		qsort(p->pieces, p->n_pieces, sizeof(*p->pieces), by_place);
	for (size_t i = 0; i < p->n_pieces; i++) {
		if (n && !by_place(&p->pieces[n - 1], &p->pieces[i]))
			p->pieces[n - 1].refs += p->pieces[i].refs;
		else
			p->pieces[n++] = p->pieces[i];
	}
	p->n_pieces = n;
}

/* Forgets the first half of those that are there, and all that come from
 * there on: the others are complete. */
static void keep_last(struct packed *p)
{
	size_t cut = PIECES_MAX / 2;

	sort_pieces(p);
	if (p->n_pieces <= cut)
		return;
	while (cut < p->n_pieces &&
	       p->pieces[cut].host_off == p->pieces[cut - 1].host_off)
		cut++;
	p->low = p->pieces[cut - 1].host_off + 1;
	p->n_pieces -= cut;
	for (size_t i = 0; i < p->n_pieces; i++)
		p->pieces[i] = p->pieces[cut + i];
}

static bool touches_chosen(const struct packed *p, uint64_t first,
			   uint64_t last)
{
	for (uint64_t k = first; k <= last; k++)
		if (bitset_test(&p->c->packed, k) &&
		    bitset_test(&p->chosen, packed_rank(p, k)))
			return true;
	return false;
}

/* Makes room for one more. */
static int grow_pieces(struct packed *p, struct qcow2_error *err)
{
	size_t max = p->pieces_max ? 2 * p->pieces_max : PIECES_MIN;
	struct packed_piece *more = realloc(p->pieces, max * sizeof(*more));

	if (!more)
		return error_nomem(err, "compressed data", max * sizeof(*more));
	p->pieces = more;
	p->pieces_max = max;
	return 0;
}

static int packed_scan_collect(struct packed *p, uint64_t host_off,
			       uint32_t len, uint64_t refs,
			       struct qcow2_error *err)
{
	uint64_t first = host_off >> p->c->img->geo.cluster_bits;
	uint64_t last = packed_last_cluster(p, host_off, len);

	int rc = 0;

	if (host_off < p->low || last < p->from || last >= p->c->n_file ||
	    (p->chosen.words && !touches_chosen(p, first, last)))
		return 0;
	if (p->n_pieces == PIECES_MAX)
		keep_last(p);
	else if (p->n_pieces == p->pieces_max)
		rc = grow_pieces(p, err);
	if (rc == 0 && host_off >= p->low)
		p->pieces[p->n_pieces++] = (struct packed_piece){
			.host_off = host_off, .len = len, .refs = refs
		};
	return rc;
}

int packed_collect(struct packed *p, enum packed_aim aim,
		   struct qcow2_error *err)
{
	int rc = aim == PACKED_SPARSE ? packed_choose_sparse(p, err) : 0;

	p->each = packed_scan_collect;
	p->from = aim == PACKED_GAPS || aim == PACKED_SPARSE ? 0 : p->c->goal;
	p->n_pieces = 0;
	p->low = 0;
	if (rc == 0)
		rc = compact_each_table(p->c, each_in_table, err);
	sort_pieces(p);
	if (rc == 0)
		VALIDATE(packed, p);
	return rc;
}

const struct packed_piece *packed_piece(const struct packed *p,
					uint64_t host_off, uint32_t len)
{
	struct packed_piece key = { .host_off = host_off, .len = len };

	return p->n_pieces ? bsearch(&key, p->pieces, p->n_pieces, sizeof(key),
				     by_place)
			   : NULL;
}
