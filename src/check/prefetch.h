/*
 * A second processor for the check: a thread reads the L2 tables in the order
 * in which the check will look at them, a few pieces ahead of it.
 *
 * It decides nothing.  The check reads again whatever the thread could not read
 * or was not told about, and finds out why.
 */
#ifndef CHECK_PREFETCH_H
#define CHECK_PREFETCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "check/budget.h"
#include "check/l2set.h"

enum {
	PREFETCH_SLOTS = 4,
	/* For fewer tables a thread is not worth it. */
	PREFETCH_TABLES_MIN = 64,
};

struct prefetch_slot {
	uint8_t *buf;
	uint64_t off;
	size_t len;
	bool failed;
};

struct prefetch {
	struct qcow2_store *file;
	const struct l2set *set; /* sorted; unchanged meanwhile */
	struct budget *budget;
	size_t table_bytes;
	size_t slot_bytes;
	struct prefetch_slot slots[PREFETCH_SLOTS];
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* guards the rest; taken before no other */
	pthread_cond_t changed;
	uint64_t n_read; /* slots that were filled */
	uint64_t n_done; /* slots that may be filled again */
	bool finished;   /* there are no more */
	bool stopped;    /* no more are wanted */
};

/* The caller must hold p->lock. */
VALIDATOR(prefetch);

/* Without memory, without a thread, or for few tables nothing is read ahead:
 * prefetch_get() has nothing then. */
void prefetch_start(struct prefetch *p, struct qcow2_store *file,
		    const struct l2set *set, size_t table_bytes,
		    struct budget *budget);
void prefetch_stop(struct prefetch *p);

/* The table at @off, valid until the next call; NULL when it is not there.
 * Tables are asked for in their order. */
const uint8_t *prefetch_get(struct prefetch *p, uint64_t off);

/* How many bytes from table @i on are worth reading at once: tables that lie
 * close together, in *n. */
uint64_t l2set_stretch(const struct l2set *set, size_t table_bytes, size_t i,
		       size_t *n);

#endif
