/*
 * The distinct L2 tables of an image, each with the number of L1 entries that
 * point to it.  A hundred snapshots that share their tables, or a million L1
 * entries that point to one, cost one walk of each table.
 */
#ifndef CHECK_L2SET_H
#define CHECK_L2SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/validate.h"
#include "check/budget.h"

struct l2_table {
	uint64_t host_off;
	uint32_t l1_idx;   /* of the first L1 entry that points here */
	uint32_t n_refs;   /* from all L1 tables; saturates */
	uint32_t n_active; /* from the active L1 table; saturates */
};

struct l2set {
	struct budget *budget;
	struct l2_table *tables;
	size_t n_tables;
	size_t capacity;
	uint32_t *slots; /* hash table: position in tables + 1 */
	size_t n_slots;
};

/* Nobody may add tables meanwhile.  Of many it looks at the first. */
VALIDATOR(l2set);

void l2set_init(struct l2set *s, struct budget *budget);
void l2set_release(struct l2set *s);

/* Counts one L1 entry.  The index of an active one is kept rather than that of
 * a snapshot's.  False when memory is short (budget_error()). */
bool l2set_add(struct l2set *s, uint64_t host_off, uint32_t l1_idx,
	       bool active);

/* Orders the tables by host offset; nothing may be added afterwards. */
void l2set_sort(struct l2set *s);

#endif
