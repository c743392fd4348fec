#include "crash/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct model model_new(uint32_t n_sectors, struct model_rules rules)
{
	struct model m = { .rules = rules,
			   .n_sectors = n_sectors,
			   .other_sectors = n_sectors,
			   .room = 2 * n_sectors + 50 };

	m.sectors = malloc(m.room * sizeof(*m.sectors));
	assert(m.sectors);
	for (uint32_t i = 0; i < m.room; i++)
		model_set(&m, i, VALUE_ZERO);
	return m;
}

static void copy_snapshot(struct model_snapshot *s)
{
	size_t bytes = s->n_sectors * sizeof(*s->values);
	uint32_t *values;

	if (!s->values)
		return;
	values = malloc(bytes);
	assert(values);
	memcpy(values, s->values, bytes);
	s->values = values;
}

struct model model_copy(const struct model *m)
{
	struct model copy = *m;

	copy.sectors = malloc(m->room * sizeof(*m->sectors));
	assert(copy.sectors);
	memcpy(copy.sectors, m->sectors, m->room * sizeof(*m->sectors));
	for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++)
		copy_snapshot(&copy.snapshots[i]);
	return copy;
}

void model_free(struct model *m)
{
	free(m->sectors);
	m->sectors = NULL;
	for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++) {
		free(m->snapshots[i].values);
		m->snapshots[i].values = NULL;
	}
}

void model_set(struct model *m, uint32_t sector, uint32_t value)
{
	m->sectors[sector].n = 1;
	m->sectors[sector].values[0] = value;
}

static void add_range(struct model *m, uint32_t from, uint32_t to,
		      uint32_t value)
{
	for (uint32_t i = from; i < to; i++) {
		struct model_sector *s = &m->sectors[i];

		assert(s->n < MODEL_VALUES_MAX);
		s->values[s->n++] = value;
	}
}

/* Whole clusters only; the last one is whole when the disk ends in it.  Version
 * 2 cannot say that a cluster hides the backing file's. */
static void discard(struct model *m, uint32_t off, uint32_t len)
{
	uint32_t unit = m->rules.cluster_sectors;
	uint32_t keeps = m->rules.version == 2 ? m->rules.backing_sectors : 0;
	uint32_t at = (off + unit - 1) / unit * unit;
	uint32_t end = off + len;

	for (; at < end; at += unit) {
		uint32_t stop = at + unit;

		if (stop > m->n_sectors)
			stop = m->n_sectors;
		if (stop <= end && at >= keeps)
			add_range(m, at, stop, VALUE_ZERO);
	}
}

void model_submit(struct model *m, const struct op *op, uint32_t value)
{
	m->shares_clusters |= op->kind == OP_COMPRESS ||
			      (op->kind == OP_COMPACT && (op->off & 2));
	switch (op->kind) {
	case OP_WRITE:
	case OP_COMPRESS:
		add_range(m, op->off, op->off + op->len, value);
		return;
	case OP_ZERO:
	case OP_UNMAP:
		add_range(m, op->off, op->off + op->len, VALUE_ZERO);
		return;
	case OP_DISCARD:
		discard(m, op->off, op->len);
		return;
	case OP_FLUSH:
	case OP_REOPEN:
	case OP_NONE:
	case OP_FULL:
		return;
	default:
		model_submit_change(m, op);
	}
}

void model_settle(struct model *m)
{
	for (uint32_t i = 0; i < m->room; i++)
		model_set(m, i, m->sectors[i].values[m->sectors[i].n - 1]);
}

void value_write(uint8_t *sector, uint32_t lba, uint32_t value)
{
	uint64_t words[2] = { value, UINT64_C(0x5ec7000000000000) | lba };

	if (value == VALUE_ZERO)
		words[1] = 0;
	for (size_t i = 0; i < MODEL_SECTOR; i += sizeof(words))
		memcpy(sector + i, words, sizeof(words));
}

uint32_t value_read(const uint8_t *sector, uint32_t lba)
{
	uint64_t words[2];

	memcpy(words, sector, sizeof(words));
	if (memcmp(sector, sector + sizeof(words),
		   MODEL_SECTOR - sizeof(words)))
		return VALUE_FOREIGN;
	if (words[0] == 0 && words[1] == 0)
		return VALUE_ZERO;
	if (words[1] != (UINT64_C(0x5ec7000000000000) | lba) ||
	    words[0] >= VALUE_FOREIGN)
		return VALUE_FOREIGN;
	return (uint32_t)words[0];
}

static bool allows(const struct model_sector *s, uint32_t value, bool exact)
{
	for (uint32_t i = exact ? s->n - 1 : 0; i < s->n; i++)
		if (s->values[i] == value)
			return true;
	return false;
}

uint32_t model_compare(const struct model *m, const uint8_t *disk, uint32_t n,
		       bool exact)
{
	uint32_t i = 0;

	while (i < n && allows(&m->sectors[i],
			       value_read(disk + i * MODEL_SECTOR, i), exact))
		i++;
	return i;
}

void model_observe(struct model *m, const uint8_t *disk, uint32_t n)
{
	for (uint32_t i = 0; i < m->room; i++)
		model_set(m, i,
			  i < n ? value_read(disk + i * MODEL_SECTOR, i)
				: VALUE_ZERO);
	m->n_sectors = m->other_sectors = n;
}
