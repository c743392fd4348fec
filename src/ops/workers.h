/*
 * Threads that live as long as one job.
 *
 * workers_run() calls one function on n threads, the caller's own among them,
 * and returns when all have returned.  The function asks for work in a loop and
 * leaves when there is none or when workers_stopped() says that another one
 * failed; the first error is the job's.
 *
 * More threads than processors help only where they wait for a device:
 * elsewhere they take each other's place in the caches.  So a pool can begin
 * with a few, and a thread that finds that it has to wait wakes one more.
 *
 * Threads of the pool have all signals blocked: handlers of the program run on
 * threads of the program.
 */
#ifndef OPS_WORKERS_H
#define OPS_WORKERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/process.h"
#include "base/validate.h"

struct workers;

/* @index: 0 for the caller's own thread, then counting.  Returns 0 or -errno
 * and an explanation in @err, which is never NULL. */
typedef int workers_fn(struct workers *w, unsigned index, void *opaque,
		       struct qcow2_error *err);

struct workers {
	workers_fn *fn;
	void *opaque;
	atomic_bool stop;
	unsigned n;          /* all of them */
	atomic_uint n_awake; /* only ever grows */
	/* A function of the caller may fork.  In the child there are no other
	 * threads, and what they held stays held. */
	struct process_mark here;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	bool ended; /* somebody found no more work, or failed */
	int rc;     /* the first failure, 0 if none */
	struct qcow2_error err;
};

/* The caller must hold w->lock. */
VALIDATOR(workers);

static inline bool workers_stopped(const struct workers *w)
{
	return atomic_load_explicit(&w->stop, memory_order_relaxed);
}

/* Are there workers that sleep? */
static inline bool workers_sleep(const struct workers *w)
{
	return atomic_load_explicit(&w->n_awake, memory_order_relaxed) < w->n;
}

/* For one that is about to wait for a device: wakes another. */
void workers_wake(struct workers *w);

/* How many threads to use for @n_pieces pieces of work: @wish, or where that
 * is 0 one per processor; never more than there are pieces, at least 1. */
unsigned workers_count(uint32_t wish, uint64_t n_pieces);

/*
 * Of @n workers one per processor begins, unless @all; the others sleep until
 * workers_wake(), and end unasked when one of those awake returns.  If the
 * system refuses threads the job runs on fewer.
 */
int workers_run(unsigned n, bool all, workers_fn *fn, void *opaque,
		struct qcow2_error *err);

#endif
