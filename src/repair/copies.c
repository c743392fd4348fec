#include "repair/copies.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "repair/tables.h"
#include "store/store.h"

static bool is_conflict(uint32_t word)
{
	return refs_use(word) == USE_CONFLICT;
}

static int compare_from(const void *a, const void *b)
{
	uint64_t x = ((const struct cluster_copy *)a)->from;
	uint64_t y = ((const struct cluster_copy *)b)->from;

	return (x > y) - (x < y);
}

static struct cluster_copy *copies_find(const struct copies *copies,
					uint64_t cluster_idx)
{
	struct cluster_copy key = { .from = cluster_idx };

	if (!copies->n)
		return NULL;
	return bsearch(&key, copies->all, copies->n, sizeof(key), compare_from);
}

/* A table that may be written: no data lies in its cluster, or only what the
 * table itself claims. */
static bool copies_may_change(void *opaque, struct repair *r,
			      uint64_t table_off)
{
	const struct cluster_copy *own;

	if (repair_is_sole(r, table_off))
		return true;
	own = copies_find(opaque, check_cluster(&r->c, table_off));
	return own && own->n_refs && own->n_refs == own->n_own;
}

static bool any_table(void *opaque, struct repair *r, uint64_t table_off)
{
	(void)opaque;
	(void)r;
	(void)table_off;
	return true;
}

/* The cluster that a plain entry claims and shares with another purpose. */
static struct cluster_copy *copy_of(const struct copies *copies,
				    const struct repair *r, struct l2_entry e)
{
	uint64_t off = l2_host_off(e);

	if (!off || (e.desc & L2_COMPRESSED) || r->c.geo.has_data_file ||
	    !is_aligned(off, r->c.geo.cluster_size))
		return NULL;
	return copies_find(copies, check_cluster(&r->c, off));
}

/* ---- The plan ------------------------------------------------------------ */

static size_t count_conflicts(const struct repair *r, struct copies *copies)
{
	const struct refs *refs = &r->c.refs;
	size_t n = 0;

	for (size_t i = 0; i < refs->n_chunks; i++)
		for (uint32_t k = 0; k < REFS_CHUNK_CLUSTERS; k++) {
			if (!is_conflict(refs->chunks[i].words[k]))
				continue;
			if (copies->all)
				copies->all[n].from = (refs->chunks[i].idx
						       << REFS_CHUNK_BITS) +
						      k;
			n++;
		}
	return n;
}

static int copies_count_entry(void *opaque, struct repair *r,
			      const struct table_entry *at, struct l2_entry *e,
			      struct qcow2_error *err)
{
	struct cluster_copy *copy = copy_of(opaque, r, *e);

	(void)err;
	if (!copy)
		return 0;
	copy->n_refs += at->table->n_refs;
	if (check_cluster(&r->c, at->table->host_off) == copy->from)
		copy->n_own += at->table->n_refs;
	return 0;
}

static int want_entry(void *opaque, struct repair *r,
		      const struct table_entry *at, struct l2_entry *e,
		      struct qcow2_error *err)
{
	struct copies *copies = opaque;
	struct cluster_copy *copy = copy_of(copies, r, *e);

	(void)err;
	if (!copy)
		return 0;
	copies->n_wanted += !copy->n_moved;
	copy->n_moved += at->table->n_refs;
	return 0;
}

static size_t counts_bytes(const struct copies *copies)
{
	return copies->n_wanted * sizeof(*copies->counts);
}

int copies_plan(struct repair *r, struct copies *copies,
		struct qcow2_error *err)
{
	struct tables_fix fix = { .opaque = copies,
				  .may_change = any_table,
				  .l2 = copies_count_entry };
	bool changed = false;
	int rc;

	*copies = (struct copies){ 0 };
	copies->n = count_conflicts(r, copies);
	if (!copies->n)
		return 0;
	copies->all =
		budget_alloc(&r->c.budget, copies->n * sizeof(*copies->all));
	if (!copies->all)
		return budget_error(&r->c.budget, "the list of overlaps", err);
	count_conflicts(r, copies);
	rc = tables_fix(r, &fix, &changed, err);
	fix.may_change = copies_may_change;
	fix.l2 = want_entry;
	if (rc == 0)
		rc = tables_fix(r, &fix, &changed, err);
	if (rc < 0)
		return rc;
	copies->counts = budget_alloc(&r->c.budget, counts_bytes(copies));
	if (!copies->counts)
		return budget_error(&r->c.budget, "the list of copies", err);
	return 0;
}

void copies_drop(struct repair *r, struct copies *copies)
{
	budget_free(&r->c.budget, copies->counts, counts_bytes(copies));
	budget_free(&r->c.budget, copies->all,
		    copies->n * sizeof(*copies->all));
	*copies = (struct copies){ 0 };
}

void copies_validate(const struct copies *copies)
{
	size_t n_wanted = 0;

	assert(implies(copies->n, copies->all));
	for (size_t i = 0; i < copies->n; i++) {
		const struct cluster_copy *one = &copies->all[i];

		/* "By `from`". */
		assert(i == 0 || one[-1].from < one->from);
		assert(one->n_own <= one->n_refs);
		assert(one->n_moved <= one->n_refs);
		assert(implies(one->to, one->n_moved));
		n_wanted += one->n_moved != 0;
	}
	assert(n_wanted == copies->n_wanted);
	assert(implies(n_wanted, copies->counts));
}

size_t copies_left(const struct copies *copies)
{
	size_t n = 0;

	for (size_t i = 0; i < copies->n; i++)
		n += !copies->all[i].n_moved ||
		     copies->all[i].n_moved != copies->all[i].n_refs;
	return n;
}

void copies_place(struct copies *copies, uint64_t cluster_idx)
{
	size_t n = 0;
	SCOPED_VALIDATE(copies, copies);

	for (size_t i = 0; i < copies->n; i++) {
		if (!copies->all[i].n_moved)
			continue;
		copies->all[i].to = cluster_idx + n;
		copies->counts[n++] = copies->all[i].n_moved;
	}
}

/* ---- The work ------------------------------------------------------------ */

int copies_write(struct repair *r, const struct copies *copies,
		 struct qcow2_error *err)
{
	uint32_t bits = r->c.geo.cluster_bits;
	size_t len = r->c.geo.cluster_size;
	uint8_t *buf;
	int rc = 0;

	if (!copies->n_wanted)
		return 0;
	buf = budget_alloc(&r->c.budget, len);
	if (!buf)
		return budget_error(&r->c.budget, "a cluster", err);
	for (size_t i = 0; rc == 0 && i < copies->n; i++) {
		const struct cluster_copy *copy = &copies->all[i];

		if (!copy->to)
			continue;
		rc = store_pread(r->file, buf, len, copy->from << bits, 0, err);
		if (rc == 0)
			rc = store_pwrite(r->file, buf, len, copy->to << bits,
					  0, err);
	}
	budget_free(&r->c.budget, buf, len);
	return rc;
}

static int link_entry(void *opaque, struct repair *r,
		      const struct table_entry *at, struct l2_entry *e,
		      struct qcow2_error *err)
{
	const struct cluster_copy *copy = copy_of(opaque, r, *e);

	(void)err;
	(void)at;
	if (!copy || !copy->to)
		return 0;
	e->desc &= ~(ENTRY_OFFSET_MASK | ENTRY_COPIED);
	e->desc |= copy->to << r->c.geo.cluster_bits;
	return 0;
}

int copies_link(struct repair *r, const struct copies *copies,
		struct qcow2_error *err)
{
	struct copies list = *copies;
	const struct tables_fix fix = { .opaque = &list,
					.may_change = copies_may_change,
					.l2 = link_entry };
	bool changed = false;

	return tables_fix(r, &fix, &changed, err);
}
