/*
 * The model of changes: another size, snapshots, compaction, amending.
 */
#include <assert.h>
#include <stdlib.h>

#include "crash/model.h"

/* ---- Operations that make sense ------------------------------------------ */

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bool has_any_snapshot(const struct model *m)
{
	for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++)
		if (m->snapshots[i].may_be)
			return true;
	return false;
}

/* Version 2 does not know how large a snapshot's disk is. */
static bool has_fixed_size(const struct model *m)
{
	return m->rules.version == 2 &&
	       (m->rules.first_snapshot || has_any_snapshot(m));
}

static bool is_there(const struct model *m, uint32_t i)
{
	return i < MODEL_SNAPSHOTS && m->snapshots[i].must_be;
}

static bool makes_sense(const struct model *m, const struct op *op)
{
	const struct model_rules *r = &m->rules;

	switch (op->kind) {
	case OP_RESIZE:
		return op->off && op->off <= m->room &&
		       op->off != m->n_sectors && !has_fixed_size(m);
	case OP_GROW:
		return op->off > m->n_sectors && op->off <= m->room &&
		       !r->backing_sectors && !has_fixed_size(m);
	case OP_COMPACT:
		return (!(op->off & 2) || r->compression) && !m->flags_lie;
	case OP_SNAPSHOT:
		return r->snapshots && r->refcount_bits >= 8 &&
		       op->off < MODEL_SNAPSHOTS &&
		       !m->snapshots[op->off].may_be;
	case OP_APPLY:
	case OP_DELETE:
		return is_there(m, op->off);
	case OP_WIDTH:
		return r->version != 2 && op->off != r->refcount_bits &&
		       (op->off >= 8 ||
			!(m->shares_clusters || has_any_snapshot(m)));
	case OP_VERSION:
		return op->off != r->version && r->refcount_bits == 16 &&
		       r->version_2;
	default:
		return true;
	}
}

/* Operations end inside the disk; compressed writes are whole clusters. */
static struct op fit_range(const struct model *m, struct op op)
{
	uint32_t unit = m->rules.cluster_sectors;
	uint32_t left = m->n_sectors - min_u32(op.off, m->n_sectors);

	op.len = min_u32(op.len, left);
	if (op.kind == OP_COMPRESS && op.len < left)
		op.len -= op.len % unit;
	if (op.len == 0)
		op = (struct op){ .kind = OP_NONE };
	return op;
}

struct op model_fit(const struct model *m, struct op op)
{
	if (op.len)
		return fit_range(m, op);
	return makes_sense(m, &op) ? op : (struct op){ .kind = OP_NONE };
}

/* ---- Snapshots ----------------------------------------------------------- */

static uint32_t newest(const struct model_sector *s)
{
	return s->values[s->n - 1];
}

static void add_value(struct model_sector *s, uint32_t value)
{
	assert(s->n < MODEL_VALUES_MAX);
	if (newest(s) != value)
		s->values[s->n++] = value;
}

static void keep_disk(struct model *m, struct model_snapshot *s)
{
	s->may_be = true;
	s->n_sectors = m->n_sectors;
	free(s->values);
	s->values = malloc(m->n_sectors * sizeof(*s->values));
	assert(s->values);
	for (uint32_t i = 0; i < m->n_sectors; i++)
		s->values[i] = newest(&m->sectors[i]);
}

static uint32_t snapshot_value(const struct model_snapshot *s, uint32_t i)
{
	return i < s->n_sectors ? s->values[i] : VALUE_ZERO;
}

static void apply(struct model *m, const struct model_snapshot *s)
{
	for (uint32_t i = 0; i < m->room; i++)
		add_value(&m->sectors[i], snapshot_value(s, i));
	m->other_sectors = m->n_sectors;
	m->n_sectors = s->n_sectors;
}

static void forget(struct model_snapshot *s)
{
	free(s->values);
	*s = (struct model_snapshot){ 0 };
}

/* ---- Changes ------------------------------------------------------------- */

/* With the old size the disk has all that it had; the part that it grows by is
 * zeros. */
static void resize(struct model *m, uint32_t n)
{
	for (uint32_t i = m->n_sectors; i < n; i++)
		add_value(&m->sectors[i], VALUE_ZERO);
	m->other_sectors = m->n_sectors;
	m->n_sectors = n;
}

void model_submit_change(struct model *m, const struct op *op)
{
	if (op->kind >= OP_SNAPSHOT && op->kind <= OP_DELETE &&
	    m->rules.version == 2)
		m->flags_may_lie = true;
	switch (op->kind) {
	case OP_RESIZE:
	case OP_GROW:
		resize(m, op->off);
		return;
	case OP_SNAPSHOT:
		keep_disk(m, &m->snapshots[op->off]);
		return;
	case OP_APPLY:
		apply(m, &m->snapshots[op->off]);
		return;
	case OP_DELETE:
		m->snapshots[op->off].must_be = false;
		return;
	default:
		return;
	}
}

static void settle_from(struct model *m, uint32_t first)
{
	for (uint32_t i = first; i < m->room; i++)
		model_set(m, i, VALUE_ZERO);
	m->other_sectors = m->n_sectors;
}

void model_complete(struct model *m, const struct op *op)
{
	m->flags_may_lie = m->flags_lie;
	switch (op->kind) {
	case OP_RESIZE:
	case OP_GROW:
		settle_from(m, min_u32(m->n_sectors, m->other_sectors));
		return;
	case OP_SNAPSHOT:
		m->snapshots[op->off].must_be = true;
		return;
	case OP_APPLY:
		model_settle(m);
		settle_from(m, m->n_sectors);
		return;
	case OP_DELETE:
		forget(&m->snapshots[op->off]);
		return;
	case OP_VERSION:
		m->rules.version = op->off;
		return;
	case OP_WIDTH:
		m->rules.refcount_bits = op->off;
		return;
	default:
		return;
	}
}

bool model_allows_size(const struct model *m, uint64_t n_sectors, bool exact)
{
	return n_sectors == m->n_sectors ||
	       (!exact && n_sectors == m->other_sectors);
}
