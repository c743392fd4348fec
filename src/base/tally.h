/*
 * Numbers that many threads add to all the time and somebody reads now and
 * then.
 *
 * Each thread adds to one of several slots, so that threads that run at the
 * same time seldom meet in a cache line; reading sums the slots.  An adder has
 * exclusive use of a slot for a few instructions, and goes on to the next if
 * another thread has it: so an event costs one locked instruction, however many
 * numbers it changes.
 *
 * Nothing is lost: a sum that is read after some adding has ended has all of
 * it, and no sum is smaller than one that the same thread read before.  Sums of
 * two numbers, read while others add, may be of two moments.
 *
 * All zeros is a tally that has counted nothing.
 */
#ifndef BASE_TALLY_H
#define BASE_TALLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/thread.h"

enum {
	TALLY_SLOTS = 16,
	TALLY_NUMBERS = 8,
	/* So far apart that no cache line has numbers of two slots, wherever
	 * the tally lies. */
	TALLY_APART_BYTES = 64,
};

struct tally_slot {
	_Atomic bool busy; /* one thread is adding */
	_Atomic uint64_t n[TALLY_NUMBERS];
	uint8_t apart[TALLY_APART_BYTES];
};

struct tally {
	struct tally_slot slots[TALLY_SLOTS];
};

static inline struct tally_slot *tally_begin(struct tally *t)
{
	unsigned i = thread_spread() % TALLY_SLOTS;

	while (atomic_exchange_explicit(&t->slots[i].busy, true,
					memory_order_acquire))
		i = (i + 1) % TALLY_SLOTS;
	return &t->slots[i];
}

static inline void tally_end(struct tally_slot *slot)
{
	atomic_store_explicit(&slot->busy, false, memory_order_release);
}

/* Between begin and end. */
static inline void tally_slot_add(struct tally_slot *slot, unsigned number,
				  uint64_t n)
{
	uint64_t old =
		atomic_load_explicit(&slot->n[number], memory_order_relaxed);

	atomic_store_explicit(&slot->n[number], old + n, memory_order_relaxed);
}

static inline void tally_add(struct tally *t, unsigned number, uint64_t n)
{
	struct tally_slot *slot = tally_begin(t);

	tally_slot_add(slot, number, n);
	tally_end(slot);
}

/* One event of @amount: adds 1 to @number and @amount to the number behind. */
static inline void tally_count(struct tally *t, unsigned number,
			       uint64_t amount)
{
	struct tally_slot *slot = tally_begin(t);

	tally_slot_add(slot, number, 1);
	tally_slot_add(slot, number + 1, amount);
	tally_end(slot);
}

static inline uint64_t tally_sum(const struct tally *t, unsigned number)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < TALLY_SLOTS; i++)
		sum += atomic_load_explicit(&t->slots[i].n[number],
					    memory_order_relaxed);
	return sum;
}

#endif
