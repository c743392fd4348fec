/*
 * Grace periods: when has every request that began before now finished?
 *
 * A request enters and leaves; neither waits nor takes a lock.  To free a host
 * cluster the caller takes a ticket, and may let the cluster be used again once
 * the ticket is over: then no request that could have looked it up is still
 * under way.
 *
 * Two sets of counters take turns; a turn happens only when the set that is
 * not in use is empty.  A ticket is over after two turns: the first shows that
 * the other set was empty, the second that the set of the time of the ticket
 * was.  A request that chose its set before such a look and counts itself after
 * it also looks up clusters after it, and finds the pointer gone.
 */
#ifndef COMMIT_GRACE_H
#define COMMIT_GRACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/validate.h"

enum { GRACE_SLOTS = 16 };

struct grace_slot {
	_Alignas(64) _Atomic uint64_t entered;
	_Atomic uint64_t left;
};

struct grace {
	_Atomic uint64_t turn; /* its lowest bit chooses the set */
	pthread_mutex_t lock;  /* one turn at a time */
	struct grace_slot slots[2][GRACE_SLOTS];
};

/* The hold of a request between enter and leave. */
struct grace_ref {
	struct grace_slot *slot;
};

VALIDATOR(grace);

void grace_init(struct grace *g);
void grace_release(struct grace *g);

struct grace_ref grace_enter(struct grace *g);
void grace_leave(struct grace_ref ref);

/* A ticket for everything that has entered up to now. */
uint64_t grace_ticket(struct grace *g);

/* True when the ticket is over; never waits. */
bool grace_is_over(struct grace *g, uint64_t ticket);

#endif
