/*
 * Numbers that many threads add to all the time and somebody reads now and
 * then.
 *
 * Each thread adds to one of several slots, so that threads that run at the
 * same time seldom meet in a cache line; reading sums the slots.  Nothing is
 * lost: a sum that is read after some adding has ended has all of it, and no
 * sum is smaller than one that the same thread read before.  Sums of two
 * numbers, read while others add, may be of two moments.
 *
 * All zeros is a tally that has counted nothing.
 */
#ifndef BASE_TALLY_H
#define BASE_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/thread.h"

enum {
	TALLY_SLOTS = 16,
	TALLY_NUMBERS = 8,
	/* As many bytes as the numbers have: so no cache line has numbers of
	 * two slots, wherever the tally lies. */
	TALLY_APART = 8,
};

struct tally {
	struct {
		_Atomic uint64_t n[TALLY_NUMBERS];
		uint64_t apart[TALLY_APART];
	} slots[TALLY_SLOTS];
};

static inline void tally_add(struct tally *t, unsigned number, uint64_t n)
{
	atomic_fetch_add_explicit(
		&t->slots[thread_spread() % TALLY_SLOTS].n[number], n,
		memory_order_relaxed);
}

/* One event of @amount: adds 1 to @number and @amount to the number behind. */
static inline void tally_count(struct tally *t, unsigned number,
			       uint64_t amount)
{
	_Atomic uint64_t *n =
		&t->slots[thread_spread() % TALLY_SLOTS].n[number];

	atomic_fetch_add_explicit(&n[0], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&n[1], amount, memory_order_relaxed);
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
