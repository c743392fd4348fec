/*
 * The new places of compressed data in a compaction.
 *
 * Free sectors in a row, from the start of the file on, are filled from behind
 * with pieces from the end of the file.  So the last clusters become empty
 * first, neighbours stay neighbours, and one that ends in the sector where the
 * other begins still does.
 */
#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/memory.h"
#include "compact/packed.h"
#include "counts/used.h"
#include "image/image.h"
#include "write/writer.h"

enum {
	READ_AT_ONCE = 512,
	/* Pieces that are tried in each row before it is left as it is. */
	TRIES = 64,
};

/* ---- Sectors ------------------------------------------------------------- */

static uint64_t first_sector(const struct packed_piece *q)
{
	return q->host_off >> PACKED_SECTOR_BITS;
}

static uint64_t last_sector(const struct packed_piece *q)
{
	return (q->host_off + q->len - 1) >> PACKED_SECTOR_BITS;
}

static uint64_t n_sectors(const struct packed_piece *q)
{
	return last_sector(q) - first_sector(q) + 1;
}

/* Sectors of @q that @below, which precedes it in the list, has too. */
static uint64_t shared(const struct packed_piece *below,
		       const struct packed_piece *q)
{
	uint64_t end = last_sector(below) + 1;

	return end <= first_sector(q)
		       ? 0
		       : min_u64(end - first_sector(q), n_sectors(q));
}

/* ---- Rows of free sectors ------------------------------------------------ */

enum packed_plan_room { ROOM_NONE, ROOM_GAPS, ROOM_FREE };

struct packed_plan_row {
	uint64_t first;
	uint64_t end;
};

/* Looks at the file from its start on. */
struct rows {
	struct packed *p;
	uint64_t limit; /* clusters from here on are no targets */
	bool use_free;
	uint32_t shift;   /* clusters to sectors */
	uint64_t at;      /* the next sector to look at */
	uint64_t cluster; /* room and rank are of this one; 0: none */
	enum packed_plan_room room;
	uint64_t rank;
	uint64_t values_from; /* of the refcounts that were read */
	uint64_t n_values;
	uint64_t values[READ_AT_ONCE];
};

static int packed_plan_count_of(struct rows *r, uint64_t cluster,
				uint64_t *value, struct qcow2_error *err)
{
	int rc = 0;

	if (cluster < r->values_from ||
	    cluster >= r->values_from + r->n_values) {
		r->values_from = cluster;
		r->n_values = min_u64(READ_AT_ONCE, r->limit - cluster);
		rc = refcounts_read(r->p->c->refs, r->n_values, cluster,
				    r->values, err);
	}
	*value = rc == 0 ? r->values[cluster - r->values_from] : 0;
	return rc;
}

/* Gaps are free only if the refcount counts nothing but the pieces. */
static int packed_plan_look(struct rows *r, uint64_t cluster,
			    struct qcow2_error *err)
{
	const struct packed *p = r->p;
	const struct refcounts *refs = p->c->refs;
	uint64_t count;
	int rc;

	if (cluster == r->cluster)
		return 0;
	rc = packed_plan_count_of(r, cluster, &count, err);
	if (rc < 0)
		return rc;
	r->cluster = cluster;
	r->room = ROOM_NONE;
	if (bitset_test(&p->c->packed, cluster)) {
		r->rank = packed_rank(p, cluster);
		if (count == p->refs[r->rank] &&
		    count < p->c->img->geo.refcount_max)
			r->room = ROOM_GAPS;
	} else if (count == 0 && r->use_free &&
		   refcounts_has_block(refs, cluster)) {
		r->room = ROOM_FREE;
	}
	return 0;
}

/* How many sectors from @s on, in its cluster, are free; or, as `skip`, are
 * not. */
static uint64_t stretch(const struct rows *r, uint64_t s, bool skip)
{
	uint64_t n = UINT64_C(1) << r->shift;
	uint64_t in = s & (n - 1);
	uint64_t i = in;

	if (r->room != ROOM_GAPS)
		return (r->room == ROOM_FREE) != skip ? n - in : 0;
	while (i < n &&
	       bitset_test(&r->p->used, (r->rank << r->shift) + i) == skip)
		i++;
	return i - in;
}

/* Goes on from r->at as long as sectors are free, or are not. */
static int pass(struct rows *r, bool skip, struct qcow2_error *err)
{
	uint64_t end = r->limit << r->shift;
	uint64_t n = 1;

	while (n && r->at < end) {
		int rc = packed_plan_look(r, r->at >> r->shift, err);

		if (rc < 0)
			return rc;
		n = stretch(r, r->at, skip);
		r->at += n;
	}
	return 0;
}

/* The next row; an empty one at the end. */
static int next_row(struct rows *r, struct packed_plan_row *row,
		    struct qcow2_error *err)
{
	int rc = pass(r, true, err);

	row->first = r->at;
	if (rc == 0)
		rc = pass(r, false, err);
	row->end = r->at;
	return rc;
}

/* ---- Filling ------------------------------------------------------------- */

struct plan {
	struct packed *p;
	uint32_t shift;
	uint32_t head; /* the last piece without a place, from 1 */
	uint64_t left; /* sectors that those without a place take */
	/* A cluster that was free is filled without a break, from behind. */
	uint64_t fresh;
	uint64_t fresh_refs;
};

static void begin_plan(struct plan *plan, struct packed *p)
{
	*plan = (struct plan){
		.p = p,
		.shift = packed_shift(p),
		.head = (uint32_t)p->n_pieces,
	};
	for (size_t i = 0; i < p->n_pieces; i++) {
		struct packed_piece *q = &p->pieces[i];

		q->below = (uint32_t)i;
		plan->left += n_sectors(q) - (i ? shared(q - 1, q) : 0);
	}
}

/* References that a target cluster has by now. */
static uint64_t refs_of(const struct plan *plan, uint64_t cluster)
{
	const struct packed *p = plan->p;
	uint64_t rank;

	if (!bitset_test(&p->c->packed, cluster))
		return cluster == plan->fresh ? plan->fresh_refs : 0;
	rank = packed_rank(p, cluster);
	return p->refs[rank] + p->coming[rank];
}

static void packed_plan_add_refs(struct plan *plan, uint64_t cluster,
				 uint64_t n)
{
	struct packed *p = plan->p;

	if (bitset_test(&p->c->packed, cluster)) {
		p->coming[packed_rank(p, cluster)] += n;
		return;
	}
	plan->fresh_refs = refs_of(plan, cluster) + n;
	p->n_fresh += cluster != plan->fresh;
	plan->fresh = cluster;
}

/* Its clusters can have as many references more. */
static bool can_count(const struct plan *plan, const struct packed_piece *q,
		      uint64_t first)
{
	uint64_t max = plan->p->c->img->geo.refcount_max;
	uint64_t last = first + n_sectors(q) - 1;

	for (uint64_t k = first >> plan->shift; k <= last >> plan->shift; k++)
		if (q->refs > max || refs_of(plan, k) > max - q->refs)
			return false;
	return true;
}

/* The pieces left take less room; the piece above @q, if it is left, takes
 * more. */
static void take_from_left(struct plan *plan, const struct packed_piece *q)
{
	const struct packed *p = plan->p;
	const struct packed_piece *above = q + 1;

	plan->left -= n_sectors(q);
	if (q > p->pieces && !q[-1].to)
		plan->left += shared(q - 1, q);
	if (above < p->pieces + p->n_pieces && !above->to)
		plan->left += shared(q, above);
}

static bool shares(const struct packed_piece *q,
		   const struct packed_piece *above)
{
	return above && last_sector(q) == first_sector(above);
}

/*
 * @q goes to the end of the row, if it does not lie before that; into the
 * sector of @above, which has just gone there, if they share it now.
 */
static bool packed_plan_place(struct plan *plan, struct packed_plan_row *row,
			      struct packed_piece *q,
			      const struct packed_piece *above)
{
	uint64_t end = row->end + shares(q, above);
	uint64_t n = n_sectors(q);
	uint64_t in_sector = q->host_off & ~COMPRESSED_SECTOR_MASK;
	uint64_t first = end - n;

	if (end < n || first < row->first || first >= first_sector(q) ||
	    !can_count(plan, q, first))
		return false;
	q->to = (first << PACKED_SECTOR_BITS) + in_sector;
	for (uint64_t k = (end - 1) >> plan->shift;; k--) {
		packed_plan_add_refs(plan, k, q->refs);
		if (k == first >> plan->shift)
			break;
	}
	row->end = first;
	take_from_left(plan, q);
	return true;
}

static void packed_plan_fill(struct plan *plan, struct packed_plan_row *row)
{
	struct packed_piece *pieces = plan->p->pieces;
	const struct packed_piece *above = NULL;
	uint32_t *link = &plan->head;

	row->end = min_u64(row->end, row->first + plan->left);
	for (int tries = 0; *link && tries < TRIES;) {
		struct packed_piece *q = &pieces[*link - 1];

		if (row->end == row->first && !shares(q, above))
			return;
		if (packed_plan_place(plan, row, q, above)) {
			*link = q->below;
			above = q;
		} else {
			link = &q->below;
			tries++;
		}
	}
}

static int place_all(struct plan *plan, enum packed_aim aim,
		     struct qcow2_error *err)
{
	const struct compact *c = plan->p->c;
	struct rows rows = {
		.p = plan->p,
		.limit = aim == PACKED_END ? c->goal : c->n_file,
		.use_free = aim != PACKED_GAPS,
		.shift = plan->shift,
		.at = UINT64_C(1) << plan->shift,
	};

	while (plan->head) {
		struct packed_plan_row row;
		int rc = next_row(&rows, &row, err);

		if (rc < 0 || row.first == row.end ||
		    row.first >= last_sector(&plan->p->pieces[plan->head - 1]))
			return rc;
		packed_plan_fill(plan, &row);
	}
	return 0;
}

/* ---- What helps ---------------------------------------------------------- */

/* All references of the cluster move away, and none come. */
static int empties(struct packed *p, uint64_t cluster, bool *answer,
		   struct qcow2_error *err)
{
	uint64_t rank = packed_rank(p, cluster);
	uint64_t count = 0;
	int rc = 0;

	*answer = bitset_test(&p->c->packed, cluster) && !p->coming[rank] &&
		  p->leaving[rank] == p->refs[rank];
	if (*answer)
		rc = refcounts_get(p->c->refs, cluster, &count, err);
	*answer = *answer && count == p->refs[rank];
	return rc;
}

static void count_leaving(struct packed *p)
{
	uint32_t bits = p->c->img->geo.cluster_bits;

	memset(p->leaving, 0, to_size(p->n_ranks * sizeof(*p->leaving)));
	for (size_t i = 0; i < p->n_pieces; i++) {
		const struct packed_piece *q = &p->pieces[i];
		uint64_t last = packed_last_cluster(p, q->host_off, q->len);

		for (uint64_t k = q->host_off >> bits; q->to && k <= last; k++)
			p->leaving[packed_rank(p, k)] += q->refs;
	}
}

/* A piece that empties no cluster stays. */
static int drop_useless(struct packed *p, size_t *n_moves,
			struct qcow2_error *err)
{
	uint32_t bits = p->c->img->geo.cluster_bits;

	*n_moves = 0;
	for (size_t i = 0; i < p->n_pieces; i++) {
		struct packed_piece *q = &p->pieces[i];
		uint64_t last = packed_last_cluster(p, q->host_off, q->len);
		bool useful = false;

		for (uint64_t k = q->host_off >> bits;
		     q->to && !useful && k <= last; k++) {
			int rc = empties(p, k, &useful, err);

			if (rc < 0)
				return rc;
		}
		q->to = useful ? q->to : 0;
		*n_moves += useful;
	}
	return 0;
}

/* Counts clusters that become empty.  With @go they leave c->packed; ranks are
 * of no use then. */
static int count_empty(struct packed *p, bool go, uint64_t *n_emptied,
		       struct qcow2_error *err)
{
	uint64_t n_bits = p->c->packed.n_bits;
	uint64_t rank = 0;

	*n_emptied = 0;
	for (uint64_t k = 0; k < n_bits; k++) {
		uint64_t count = 0;
		int rc = 0;

		if (!bitset_test(&p->c->packed, k))
			continue;
		if (!p->coming[rank] && p->leaving[rank] &&
		    p->leaving[rank] == p->refs[rank])
			rc = refcounts_get(p->c->refs, k, &count, err);
		if (rc < 0)
			return rc;
		if (count && count == p->refs[rank]) {
			++*n_emptied;
			if (go)
				bitset_clear(&p->c->packed, k);
		}
		rank++;
	}
	return 0;
}

int packed_plan(struct packed *p, enum packed_aim aim, size_t *n_moves,
		uint64_t *n_emptied, struct qcow2_error *err)
{
	struct plan plan;
	int rc;

	begin_plan(&plan, p);
	rc = place_all(&plan, aim, err);
	if (rc < 0)
		return rc;
	count_leaving(p);
	VALIDATE(packed, p);
	rc = drop_useless(p, n_moves, err);
	assert(*n_moves <= p->n_pieces);
	if (rc == 0)
		rc = count_empty(p, false, n_emptied, err);
	if (rc == 0 && aim == PACKED_SPARSE && *n_emptied <= p->n_fresh) {
		*n_moves = 0;
		*n_emptied = 0;
	}
	return rc < 0 || !*n_moves ? rc : count_empty(p, true, n_emptied, err);
}
