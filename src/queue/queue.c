/*
 * The life of a queue: made, fed, freed.
 */
#include "queue/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "chain/requests.h"
#include "queue/queue_impl.h"

void queue_validate(const struct queue *q)
{
	uint32_t n_ready = 0;
	uint32_t n_free = 0;

	for (const struct request *r = q->ready.first; r; r = r->next) {
		assert(r->state == REQUEST_READY && r->rc <= 0);
		n_ready++;
	}
	for (const struct request *r = q->free; r; r = r->next) {
		assert(r->state == REQUEST_FREE);
		n_free++;
	}
	assert(n_ready == q->n_ready);
	assert(n_free + n_ready + q->n_under_way == q->opts.depth);
	assert(q->n_at_worker <= q->n_under_way);
	assert(q->n_endings <= q->n_at_worker);
	assert(implies(q->n_at_worker, q->opts.pool));
}

int queue_check_here(const struct queue *q, struct qcow2_error *err)
{
	if (process_mark_is_here(&q->mark))
		return 0;
	return error_set(err, -ECHILD,
			 "the queue was made before this process was forked, "
			 "and belongs to the parent");
}

/* ---- New, free ----------------------------------------------------------- */

/* Somebody waits for a range, and what the ring has, or has not even begun, may
 * be in it.  If the ring is in use, whoever uses it will see to that. */
static void queue_advance(void *opaque)
{
	struct queue *q = opaque;
	struct ring *ring = q->opts.ring;

	if (pthread_mutex_trylock(&q->ring_lock) == 0) {
		ring->ops->submit(ring);
		mutex_unlock(&q->ring_lock);
		queue_collect(q, false);
	}
	queue_do_endings(q);
}

static void release_opts(const struct queue_opts *opts)
{
	if (opts->ring)
		opts->ring->ops->free(opts->ring);
	close(opts->event_fd);
}

static void queue_init(struct queue *q, struct disk *disk)
{
	q->disk = disk;
	q->carrier = (struct inflight_carrier){ .advance = queue_advance,
						.opaque = q };
	pthread_mutex_init(&q->ring_lock, NULL);
	pthread_mutex_init(&q->lock, NULL);
	process_mark_init(&q->mark);
	for (uint32_t i = 0; i < q->opts.depth; i++) {
		struct request *r = &q->requests[i];

		r->job.run = request_run_job;
		r->queue = q;
		r->next = q->free;
		q->free = r;
	}
}

int queue_new(struct disk *disk, const struct queue_opts *opts,
	      struct queue **out, struct qcow2_error *err)
{
	struct queue *q = calloc(1, sizeof(*q));
	struct request *requests = calloc(opts->depth, sizeof(*requests));

	assert(opts->depth > 0 && opts->count);
	if (!q || !requests) {
		free(q);
		free(requests);
		release_opts(opts);
		return error_nomem(err, "a queue",
				   opts->depth * sizeof(*requests));
	}
	q->opts = *opts;
	q->requests = requests;
	queue_init(q, disk);
	if (opts->ring)
		disk_add_carrier(disk, &q->carrier);
	*out = q;
	return 0;
}

/* Takes those back that no worker has begun. */
static void cancel_requests(struct queue *q)
{
	for (uint32_t i = 0; i < q->opts.depth; i++) {
		struct request *r = &q->requests[i];
		bool at_worker;

		mutex_lock(&q->lock);
		at_worker = r->state == REQUEST_AT_WORKER;
		mutex_unlock(&q->lock);
		if (!at_worker || !pool_take_back(q->opts.pool, &r->job))
			continue;
		request_abandon(r);
		request_complete(r, -ECANCELED);
	}
}

/* In a child of the process that made it the ring, the lists and the threads
 * are the parent's: nothing is touched. */
void queue_free(struct queue *q)
{
	if (!q || queue_check_here(q, NULL) < 0)
		return;
	if (q->opts.pool)
		cancel_requests(q);
	queue_drain(q);
	if (q->opts.ring)
		disk_remove_carrier(q->disk, &q->carrier);
	release_opts(&q->opts);
	pthread_mutex_destroy(&q->ring_lock);
	pthread_mutex_destroy(&q->lock);
	process_mark_release(&q->mark);
	free(q->requests);
	free(q);
}

/* ---- Requests ------------------------------------------------------------ */

static struct request *
request_new(struct queue *q, const struct qcow2_request *asked, uint64_t len)
{
	SCOPED_LOCK(&q->lock);
	SCOPED_VALIDATE(queue, q);
	struct request *r = q->free;

	if (!r)
		return NULL;
	q->free = r->next;
	q->n_under_way++;
	r->state = REQUEST_UNDER_WAY;
	r->quiet = false;
	r->asked = *asked;
	r->len = len;
	r->began_ns = requests_clock();
	return r;
}

bool queue_begin(struct queue *q, const struct qcow2_request *asked,
		 uint64_t len, int rc)
{
	struct request *r = request_new(q, asked, len);

	if (!r)
		return false;
	if (rc == 0)
		request_start(r);
	else
		request_complete(r, rc);
	return true;
}

/* If the host is short of something the transfers wait for the next kick: the
 * caller, who may wait for the eventfd, must come again. */
void queue_kick(struct queue *q)
{
	struct ring *ring = q->opts.ring;
	SCOPED_LOCK(&q->ring_lock);

	if (ring && ring->ops->submit(ring) < 0)
		queue_signal(q);
}

int queue_register(struct queue *q, const struct iovec *iov, int iovcnt,
		   struct qcow2_error *err)
{
	struct ring *ring = q->opts.ring;
	bool is_idle;

	mutex_lock(&q->lock);
	is_idle = q->n_under_way == 0;
	mutex_unlock(&q->lock);
	if (!is_idle)
		return error_set(err, -EBUSY,
				 "requests of the queue are under way");
	return ring ? ring->ops->register_memory(ring, iov, iovcnt, err) : 0;
}

void queue_get_info(struct queue *q, struct qcow2_queue_info *out)
{
	SCOPED_LOCK(&q->lock);

	out->has_ring = q->opts.ring != NULL;
	out->depth = q->opts.depth;
	out->n_workers = q->opts.pool ? q->opts.pool->n_threads : 0;
	out->n_under_way = q->n_under_way;
	out->n_ready = q->n_ready;
	out->n_inline = q->done.at_once;
	out->n_ring = q->done.ring;
	out->n_worker = q->done.worker;
	out->n_blocking = q->done.blocking;
}
