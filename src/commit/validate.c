/*
 * The promises of the headers of commit/.
 */
#include <limits.h>

#include "base/checked.h"
#include "commit/commit.h"
#include "commit/epoch.h"
#include "commit/l1_switch.h"
#include "format/limits.h"

/* "Commits are numbered in the order in which they run", one at a time. */
static void turns_validate(const struct commit_turns *t)
{
	assert(t->completed <= t->started);
	assert(t->started - t->completed <= 1);
	assert(t->durable <= t->completed);
	assert(t->failed <= 0);
	/* "the last of them that succeeded", and "-errno of the last one" */
	assert((t->failed == 0) == (t->durable == t->completed));
}

void freed_list_validate(const struct freed_list *l)
{
	uint64_t n_clusters = 0;

	assert(l->n <= l->capacity);
	assert(!l->list == !l->capacity);
	for (size_t i = 0; i < l->n; i++) {
		const struct freed *f = &l->list[i];

		assert(f->n_clusters);
		assert(f->host_off % SECTOR_BYTES == 0);
		n_clusters += f->n_clusters;
	}
	assert(n_clusters == l->n_clusters);
}

/* "oldest first"; a queued run has waited for a commit already. */
static void batches_validate(const struct freed_batch *b, struct grace *grace)
{
	uint64_t newest = grace_ticket(grace);

	for (; b; b = b->next) {
		assert(b->freed.n || b->l1);
		freed_list_validate(&b->freed);
		assert(b->ticket <= newest);
		assert(implies(b->next, b->ticket <= b->next->ticket));
	}
}

/* The table, and the marks that go with it. */
static void l1_validate(const struct l1_table *l1, const struct bitset *dirty)
{
	assert(implies(l1->n_entries, l1->entries));
	assert(dirty->words);
	assert(dirty->n_bits == div_round_up(l1->n_entries, L1_PER_SECTOR));
}

void commit_validate(const struct commit *c)
{
	assert(c->geo && c->file && c->data);
	assert(c->refs && c->grace && c->l1);
	assert(c->poison <= 0);
	turns_validate(&c->turns);
	dirty_validate(&c->l2);
	l1_validate(c->l1, &c->l1_dirty);
	assert(implies(!c->any_l1_dirty, bitset_is_empty(&c->l1_dirty)));
	/* Flushes that wait, each of which is somebody's call. */
	assert(c->n_settling <= INT_MAX);
	freed_list_validate(&c->freed);
	batches_validate(c->batches, c->grace);
}

void epoch_validate(const struct epoch *e)
{
	writes_validate(&e->refcounts);
	writes_validate(&e->entries);
	freed_list_validate(&e->freed);
	/* "entries may come before the refcounts they need" */
	assert(implies(e->lagging, e->entries.n));
}

void l1_switch_validate(const struct l1_switch *s)
{
	/* "may be called twice": released, or never used. */
	if (!s->to.entries) {
		assert(!s->dirty.words && !s->dirty.n_bits);
		return;
	}
	l1_validate(&s->to, &s->dirty);
	/* "Nothing of it is dirty", neither of the new nor of the old one. */
	assert(bitset_is_empty(&s->dirty));
}

/* Requests leave the slot that they entered.  Leavings are counted first, since
 * requests come and go meanwhile. */
void grace_validate(const struct grace *g)
{
	for (unsigned set = 0; set < 2; set++) {
		for (unsigned i = 0; i < GRACE_SLOTS; i++) {
			const struct grace_slot *slot = &g->slots[set][i];
			uint64_t left = atomic_load(&slot->left);

			assert(left <= atomic_load(&slot->entered));
		}
	}
}
