#include "check/l2set.h"

#include <assert.h>
#include <stdlib.h>

enum { VALIDATED_MAX = 4096 };

static void l2set_table_validate(const struct l2_table *t)
{
	assert(t->n_refs >= 1 && t->n_active <= t->n_refs);
}

void l2set_validate(const struct l2set *s)
{
	assert(s->n_tables <= s->capacity);
	assert((s->n_slots & (s->n_slots - 1)) == 0);
	/* Half of the slots are empty; and there are none once it is sorted. */
	assert(!s->n_slots || 2 * s->n_tables <= s->n_slots);
	for (size_t i = 0; i < s->n_tables && i < VALIDATED_MAX; i++) {
		l2set_table_validate(&s->tables[i]);
		assert(s->n_slots || i == 0 ||
		       s->tables[i - 1].host_off < s->tables[i].host_off);
	}
}

void l2set_init(struct l2set *s, struct budget *budget)
{
	*s = (struct l2set){ .budget = budget };
}

static void release_slots(struct l2set *s)
{
	budget_free(s->budget, s->slots, s->n_slots * sizeof(*s->slots));
	s->slots = NULL;
	s->n_slots = 0;
}

void l2set_release(struct l2set *s)
{
	VALIDATE(l2set, s);
	budget_free(s->budget, s->tables, s->capacity * sizeof(*s->tables));
	release_slots(s);
	l2set_init(s, s->budget);
}

/* The slot that holds @host_off, or the empty one where it belongs. */
static uint32_t *l2set_find(const struct l2set *s, uint64_t host_off)
{
	uint64_t hash = (host_off >> 9) * UINT64_C(0x9e3779b97f4a7c15);
	size_t slot = (size_t)(hash >> 32) & (s->n_slots - 1);

	while (s->slots[slot] &&
	       s->tables[s->slots[slot] - 1].host_off != host_off)
		slot = (slot + 1) & (s->n_slots - 1);
	return &s->slots[slot];
}

/* Keeps the hash table at most half full. */
static bool l2set_grow_slots(struct l2set *s)
{
	size_t n_slots = s->n_slots ? s->n_slots * 2 : 128;
	uint32_t *slots;

	if (s->n_tables * 2 < s->n_slots)
		return true;
	slots = budget_alloc(s->budget, n_slots * sizeof(*slots));
	if (!slots)
		return false;
	release_slots(s);
	s->slots = slots;
	s->n_slots = n_slots;
	for (size_t i = 0; i < s->n_tables; i++)
		*l2set_find(s, s->tables[i].host_off) = (uint32_t)(i + 1);
	return true;
}

static struct l2_table *new_table(struct l2set *s, uint64_t host_off)
{
	if (!budget_grow(s->budget, (void **)&s->tables, sizeof(*s->tables),
			 s->n_tables, &s->capacity) ||
	    !l2set_grow_slots(s))
		return NULL;
	s->tables[s->n_tables++] = (struct l2_table){ .host_off = host_off };
	*l2set_find(s, host_off) = (uint32_t)s->n_tables;
	return &s->tables[s->n_tables - 1];
}

static void add_saturated(uint32_t *n)
{
	if (*n < UINT32_MAX)
		++*n;
}

bool l2set_add(struct l2set *s, uint64_t host_off, uint32_t l1_idx, bool active)
{
	uint32_t at = s->n_slots ? *l2set_find(s, host_off) : 0;
	struct l2_table *t;

	t = at ? &s->tables[at - 1] : new_table(s, host_off);
	if (!t)
		return false;
	if (!t->n_refs || (active && !t->n_active))
		t->l1_idx = l1_idx;
	add_saturated(&t->n_refs);
	if (active)
		add_saturated(&t->n_active);
	return true;
}

static int compare_tables(const void *a, const void *b)
{
	uint64_t x = ((const struct l2_table *)a)->host_off;
	uint64_t y = ((const struct l2_table *)b)->host_off;

	return (x > y) - (x < y);
}

void l2set_sort(struct l2set *s)
{
	VALIDATE(l2set, s);
	release_slots(s);
	if (s->n_tables)
		qsort(s->tables, s->n_tables, sizeof(*s->tables),
		      compare_tables);
	VALIDATE(l2set, s);
}
