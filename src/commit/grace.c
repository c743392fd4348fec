#include "commit/grace.h"

#include <assert.h>

#include "base/cleanup.h"
#include "base/thread.h"

enum { TURNS_PER_TICKET = 2 };

void grace_init(struct grace *g)
{
	*g = (struct grace){ 0 };
	pthread_mutex_init(&g->lock, NULL);
}

void grace_release(struct grace *g)
{
	VALIDATE(grace, g);
	pthread_mutex_destroy(&g->lock);
}

struct grace_ref grace_enter(struct grace *g)
{
	unsigned set = atomic_load(&g->turn) & 1;
	struct grace_slot *slot = &g->slots[set][thread_spread() % GRACE_SLOTS];

	atomic_fetch_add(&slot->entered, 1);
	return (struct grace_ref){ slot };
}

void grace_leave(struct grace_ref ref)
{
	uint64_t left = atomic_fetch_add(&ref.slot->left, 1);

	assert(left <
	       atomic_load_explicit(&ref.slot->entered, memory_order_relaxed));
}

/* Counts leavings first: a request that comes in between can only make the
 * set look busier than it is. */
static bool set_is_empty(struct grace *g, unsigned set)
{
	uint64_t left = 0, entered = 0;

	for (unsigned i = 0; i < GRACE_SLOTS; i++)
		left += atomic_load(&g->slots[set][i].left);
	for (unsigned i = 0; i < GRACE_SLOTS; i++)
		entered += atomic_load(&g->slots[set][i].entered);
	return left == entered;
}

uint64_t grace_ticket(struct grace *g)
{
	return atomic_load(&g->turn) + TURNS_PER_TICKET;
}

/* A turn makes the other set the current one; it must have drained since it
 * was current last.  After it, new requests go to the other set. */
static bool try_turn(struct grace *g)
{
	uint64_t turn = atomic_load(&g->turn);

	if (!set_is_empty(g, (turn + 1) & 1))
		return false;
	atomic_store(&g->turn, turn + 1);
	return true;
}

bool grace_is_over(struct grace *g, uint64_t ticket)
{
	SCOPED_LOCK(&g->lock);
	SCOPED_VALIDATE(grace, g);

	while (atomic_load(&g->turn) < ticket)
		if (!try_turn(g))
			return false;
	return true;
}
