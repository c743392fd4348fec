/*
 * A queue of requests for a disk: takes them one by one, begins each at once,
 * and keeps the results until they are asked for.
 *
 * A request goes one of these ways (carry_out.c):
 *
 *	at once      no disk is needed, or the bytes are in memory
 *	ring         its bytes are in one place of a file: chain/carry.h says
 *		     where, the ring moves them, and the end links the entries
 *	worker       it has to wait: the call of the same name on a thread
 *	blocking     the same on the caller's, if there are no workers
 *
 * All of them end in request_complete().  One thread at a time uses the queue;
 * workers, and writers that wait for a range that the ring has (the carrier),
 * come from other threads.
 *
 * Locks: ring_lock around calls of the ring, lock around the lists, which may be
 * taken inside of it; neither is held while a request is carried out.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/process.h"
#include "base/validate.h"
#include "chain/carry.h"
#include "queue/pool.h"
#include "queue/ring.h"

struct disk;
struct queue;

/* The step of a request that a worker is asked for. */
enum request_work {
	WORK_CALL,  /* all of it */
	WORK_REST,  /* bytes that the ring has not moved; then its end */
	WORK_END,   /* the end of what was carried, and then a flush for FUA */
	WORK_FLUSH, /* it is done, but for FUA */
};

enum request_state {
	REQUEST_FREE,
	REQUEST_UNDER_WAY, /* in nobody's list */
	REQUEST_AT_WORKER, /* in the pool's list, or in a worker's hands */
	REQUEST_READY,     /* waits to be reaped */
};

struct request {
	struct pool_job job; /* the first member */
	struct queue *queue;
	struct request *next; /* of the free ones, or of the ready ones */
	enum request_state state;
	enum request_work work;
	bool quiet; /* the caller takes the completion at once: no signal */
	struct qcow2_request asked;
	uint64_t len;      /* bytes it is about */
	uint64_t began_ns; /* requests_clock() */
	int rc;         /* READY: the result; for a worker: that of the bytes */
	uint64_t moved; /* REST: bytes that are there */
	struct carried carried;
};

struct request_list {
	struct request *first;
	struct request *last;
};

/* Is told of each completion, by any thread. */
typedef void queue_count_fn(void *opaque, const struct qcow2_request *asked,
			    uint64_t len, int rc, uint64_t began_ns);

struct queue_opts {
	uint32_t depth;
	struct qcow2_pool *pool; /* NULL: no workers */
	struct ring *ring;       /* NULL: none; the queue frees it */
	int event_fd;            /* the queue closes it */
	queue_count_fn *count;
	void *opaque;
};

struct queue_numbers {
	uint64_t at_once;
	uint64_t ring;
	uint64_t worker;
	uint64_t blocking;
};

struct queue {
	struct process_mark mark;
	struct disk *disk;
	struct queue_opts opts;   /* these never change */
	struct request *requests; /* opts.depth of them */
	struct inflight_carrier carrier;
	bool event_taken; /* the owner read the eventfd, and the caller did not
			   * hear of it */

	pthread_mutex_t ring_lock; /* around calls of the ring */
	uint32_t n_in_ring;        /* transfers it has; under ring_lock */

	pthread_mutex_t lock; /* protects what follows, and states */
	struct request *free;
	struct request_list ready;
	uint32_t n_under_way; /* neither free nor ready */
	uint32_t n_at_worker; /* of these */
	uint32_t n_endings;   /* of these: they leave a range, or end a read */
	uint32_t n_ready;
	struct queue_numbers done;
};

/* The caller must hold queue->lock. */
VALIDATOR(queue);

/* Takes ring and event_fd of the options over, also when it fails. */
int queue_new(struct disk *disk, const struct queue_opts *opts,
	      struct queue **out, struct qcow2_error *err);
void queue_free(struct queue *q); /* NULL is fine */
/* -ECHILD in a child of the process that made it. */
int queue_check_here(const struct queue *q, struct qcow2_error *err);

/* Begins a request about @len bytes, whose arguments are right; if @rc is not
 * 0 they were not, and the request completes with it.  False: the queue is
 * full.  What was begun needs a kick. */
bool queue_begin(struct queue *q, const struct qcow2_request *asked,
		 uint64_t len, int rc);
void queue_kick(struct queue *q);

/* See qcow2_queue_reap() and qcow2_queue_drain(). */
int queue_reap(struct queue *q, struct qcow2_completion *out, uint32_t max,
	       int timeout_ms, uint32_t *n, struct qcow2_error *err);
void queue_drain(struct queue *q);

/* Nothing may be under way. */
int queue_register(struct queue *q, const struct iovec *iov, int iovcnt,
		   struct qcow2_error *err);
void queue_get_info(struct queue *q, struct qcow2_queue_info *out);

#endif
