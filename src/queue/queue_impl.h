/*
 * Inside queue/: what queue.c, carry_out.c and results.c tell each other.
 */
#ifndef QUEUE_QUEUE_IMPL_H
#define QUEUE_QUEUE_IMPL_H

#include "queue/queue.h"

/* The bytes of a request that a worker has were, or are to be, carried.  The
 * caller must hold the lock. */
static inline bool request_is_ending(const struct request *r)
{
	return r->state == REQUEST_AT_WORKER &&
	       (r->work == WORK_REST || r->work == WORK_END);
}

/* carry_out.c */

/* Begins a request that is UNDER_WAY. */
void request_start(struct request *r);
/* The pool's job of a request. */
void request_run_job(struct pool_job *job);
/* Somebody waits for a range: does the endings that no worker has begun.  All
 * workers may be waiting for what these leave. */
void queue_do_endings(struct queue *q);
/* A worker had not begun this one, and will not: whatever other threads could
 * see of it ends; it does not complete. */
void request_abandon(struct request *r);
/* Goes on with all that the ring is done with.  @quiet: the caller takes
 * completions before it waits. */
void queue_collect(struct queue *q, bool quiet);

/* results.c */

/* The request has ended with @rc: it is ready.  Nothing of the queue may be
 * used after this by a thread that does not own it: the owner may free it. */
void request_complete(struct request *r, int rc);
/* Makes the eventfd readable. */
void queue_signal(struct queue *q);

#endif
