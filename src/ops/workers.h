/*
 * Threads that live as long as one job.
 *
 * workers_run() calls one function on n threads, the caller's own among them,
 * and returns when all have returned.  The function asks for work in a loop
 * and leaves when there is none or when workers_stopped() says that another
 * one failed; the first error is the job's.
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

struct workers;

/* @index: 0 for the caller's own thread, then counting.  Returns 0 or -errno
 * and an explanation in @err, which is never NULL. */
typedef int workers_fn(struct workers *w, unsigned index, void *opaque,
		       struct qcow2_error *err);

struct workers {
	workers_fn *fn;
	void *opaque;
	atomic_bool stop;
	pthread_mutex_t lock; /* guards the two below */
	int rc;		      /* the first failure, 0 if none */
	struct qcow2_error err;
};

static inline bool workers_stopped(const struct workers *w)
{
	return atomic_load_explicit(&w->stop, memory_order_relaxed);
}

/* How many threads to use for @n_pieces pieces of work: @wish, or where that
 * is 0 one per processor; never more than there are pieces, at least 1. */
unsigned workers_count(uint32_t wish, uint64_t n_pieces);

/* Where the system refuses threads the job runs on fewer. */
int workers_run(unsigned n, workers_fn *fn, void *opaque,
		struct qcow2_error *err);

#endif
