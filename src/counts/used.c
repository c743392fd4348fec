#include "counts/used.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "counts/view.h"
#include "format/refcount.h"

struct reftable_place refcounts_table_place(struct refcounts *r)
{
	SCOPED_LOCK(&r->lock);

	return r->place;
}

bool refcounts_next_block(struct refcounts *r, uint64_t *index,
			  uint64_t *host_off)
{
	SCOPED_LOCK(&r->lock);

	while (*index < r->n_table && !r->table[*index])
		++*index;
	if (*index >= r->n_table)
		return false;
	*host_off = refcount_block_off(r->table[*index]);
	return true;
}

bool refcounts_has_block(const struct refcounts *r, uint64_t cluster_idx)
{
	uint64_t i = cluster_idx >> r->geo->refcount_block_bits;

	return i < r->n_table && r->table[i];
}

uint64_t refcounts_next_described(struct refcounts *r, uint64_t from)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t i = from >> bits;
	uint64_t host_off;

	return refcounts_next_block(r, &i, &host_off) ? max_u64(from, i << bits)
						      : UINT64_MAX;
}

/* The end of the last region before cluster @end that has a block, or @end in
 * the middle of it; 0: none. */
static uint64_t described_before(struct refcounts *r, uint64_t end)
{
	uint32_t bits = r->geo->refcount_block_bits;
	uint64_t n = div_round_up(end, UINT64_C(1) << bits);
	SCOPED_LOCK(&r->lock);

	n = min_u64(n, r->n_table);
	while (n && !r->table[n - 1])
		n--;
	return min_u64(end, n << bits);
}

uint64_t refcounts_described_end(struct refcounts *r)
{
	return described_before(r, UINT64_MAX >> r->geo->cluster_bits);
}

static uint64_t used_in_slice(struct refcounts *r, const struct view *v,
			      uint64_t first, uint64_t end)
{
	SCOPED_LOCK(&r->lock);

	while (end > first && view_get(r, v, end - 1) == 0)
		end--;
	return end;
}

int refcounts_used_end(struct refcounts *r, uint64_t first, uint64_t end,
		       uint64_t *used_end, struct qcow2_error *err)
{
	for (;;) {
		struct view v;
		uint64_t from, used;
		int rc;

		end = described_before(r, end);
		if (end <= first)
			break;
		rc = refcounts_view(r, end - 1, &v, err);
		if (rc < 0)
			return rc;
		from = max_u64(first, v.first);
		used = used_in_slice(r, &v, from, end);
		view_close(r, &v);
		if (used > from) {
			*used_end = used;
			return 0;
		}
		end = from;
	}
	*used_end = first;
	return 0;
}

/* Nothing that comes into use meanwhile is missed: it is noted where it does. */
uint64_t refcounts_allocated_end(struct refcounts *r)
{
	uint64_t end;

	if (!r->used_end.is_known) {
		end = refcounts_high_water(r) >> r->geo->cluster_bits;
		refcounts_used_end(r, 0, end, &end, NULL);
		SCOPED_LOCK(&r->lock);
		refcounts_note_used(r, end);
		r->used_end.is_known = true;
	}
	return r->used_end.host_off;
}

const _Atomic uint64_t *refcounts_used_end_mark(const struct refcounts *r)
{
	return &r->used_end.host_off;
}

/* ---- A walk -------------------------------------------------------------- */

void refcount_walk_init(struct refcount_walk *w, struct refcounts *r,
			uint64_t first, uint64_t end)
{
	w->refs = r;
	w->next = w->read_from = w->read_end = first;
	w->end = end;
}

/* Within one block, so that all that is read is described. */
static int refcount_walk_read(struct refcount_walk *w, struct qcow2_error *err)
{
	uint32_t bits = w->refs->geo->refcount_block_bits;
	uint64_t from = refcounts_next_described(w->refs, w->next);
	uint64_t end, n;
	int rc;

	if (from >= w->end)
		return 0;
	end = min_u64(((from >> bits) + 1) << bits, w->end);
	n = min_u64(REFCOUNT_WALK_READ, end - from);
	rc = refcounts_read(w->refs, n, from, w->values, err);
	if (rc < 0)
		return rc;
	w->next = w->read_from = from;
	w->read_end = from + n;
	return 1;
}

int refcount_walk_next(struct refcount_walk *w, struct qcow2_error *err)
{
	int rc = w->next < w->read_end ? 1 : refcount_walk_read(w, err);

	if (rc <= 0)
		return rc;
	w->cluster_idx = w->next++;
	w->count = w->values[w->cluster_idx - w->read_from];
	return 1;
}
