/*
 * A store that fails when it is told to.
 *
 * A test runs an operation again and again and fails its 1st, 2nd, 3rd call,
 * until a run ends in which no fault fired:
 *
 *	for (plan.nth = 1;; plan.nth++) {
 *		fault_arm(&fault, &plan);
 *		... run it on a fresh copy ...
 *		if (!fault_fired(&fault))
 *			break;
 *	}
 */
#ifndef STORES_FAULT_H
#define STORES_FAULT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "stores/hook.h"

#define FAULT_ON(op) (1u << (op))
#define FAULT_ON_ALL ((1u << STORE_N_OPS) - 1)
/* The operations that change the store or make it durable. */
#define FAULT_ON_CHANGES                                       \
	(FAULT_ON(STORE_OP_WRITE) | FAULT_ON(STORE_OP_FLUSH) | \
	 FAULT_ON(STORE_OP_ZERO) | FAULT_ON(STORE_OP_TRUNCATE))

enum fault_kind {
	FAULT_ERROR, /* nothing happens below; returns `code` */
	FAULT_SHORT, /* `part` bytes are transferred, then as FAULT_ERROR */
	FAULT_LIE,   /* nothing happens below; returns 0 */
};

struct fault_plan {
	unsigned ops;    /* FAULT_ON() of the calls that count and may fail */
	uint64_t nth;    /* the first of them to fail, from 1; 0: none */
	bool persistent; /* and all that follow it, else only that one */
	uint64_t more;   /* else so many that follow it */
	enum fault_kind kind;
	int code; /* negative errno */
	uint64_t part;
};

/* Owned by the test, outlives the stores made of it.  Several stores may share
 * one: then their calls count together. */
struct fault_injector {
	pthread_mutex_t lock; /* guards all below */
	struct fault_plan plan;
	uint64_t n_seen; /* calls of plan.ops since fault_arm() */
	uint64_t n_fired;
	uint64_t n_barriers; /* of these, flushes */
};

#define FAULT_INIT                                \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

/* Starts counting anew; NULL @plan only counts, all operations. */
void fault_arm(struct fault_injector *f, const struct fault_plan *plan);
uint64_t fault_fired(struct fault_injector *f);
uint64_t fault_barriers(struct fault_injector *f);
uint64_t fault_seen(struct fault_injector *f);

int fault_store_new(struct fault_injector *f, struct qcow2_store *inner,
		    struct qcow2_store **out);

#endif
