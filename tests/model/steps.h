/*
 * Requests that take turns at their store calls, in an order that is chosen.
 *
 * Each request runs in a thread of its own and stops at every point: before
 * each read, write, zeroing, truncation and barrier of a store that was made
 * here, and after each write.  When all have stopped, ended, or wait for one
 * another inside of the library, one of those that stopped goes on to its next
 * point.  A list of choices says which one; all lists together are all
 * interleavings.
 */
#ifndef MODEL_STEPS_H
#define MODEL_STEPS_H

#include <stdbool.h>

#include <qcow2.h>

#include "support/test.h"

enum { STEPS_THREADS = 3, STEPS_CHOICES = 256 };

struct choices {
	unsigned n;
	struct {
		unsigned char taken;
		unsigned char of;
	} at[STEPS_CHOICES];
};

struct steps;

/* Keeps this process on the processor where it is: one thread moves at a time,
 * and a turn that stays on one processor passes several times faster. */
void steps_share_processor(void);

struct steps *steps_new(void);
void steps_free(struct steps *s);
int steps_store_new(struct steps *s, struct qcow2_store *inner,
		    struct qcow2_store **out);

/*
 * Runs @fn(@arg, i) for i below @n, each in its thread.  The first choices are
 * those of *c; @rng chooses the later ones, or without it the first is taken
 * each time; *c says afterwards which were taken.  Returns false when all wait
 * for one another for ever; the threads are lost then.
 */
bool steps_run(struct steps *s, unsigned n, void (*fn)(void *arg, unsigned i),
	       void *arg, struct choices *c, struct test_rng *rng);

/* Moves on to the choices of the next interleaving; returns false after the
 * last. */
bool choices_next(struct choices *c);

#endif
