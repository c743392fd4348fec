/*
 * Completions: kept until they are reaped, and waited for.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "chain/watch.h"
#include "queue/queue_impl.h"

/* ---- Completing ---------------------------------------------------------- */

static void ready_add(struct queue *q, struct request *r)
{
	r->next = NULL;
	if (q->ready.first)
		q->ready.last->next = r;
	else
		q->ready.first = r;
	q->ready.last = r;
	q->n_ready++;
}

/* Should the counter be full, the descriptor is readable already. */
void queue_signal(struct queue *q)
{
	uint64_t one = 1;
	ssize_t n = write(q->opts.event_fd, &one, sizeof(one));

	assert(n == sizeof(one) || errno == EAGAIN);
}

/* Whoever waits for one hears of the first, and whoever drains the queue of the
 * last.  The signal comes under the lock: the owner frees the queue only after
 * it has seen, under the lock, that nothing is under way. */
void request_complete(struct request *r, int rc)
{
	struct queue *q = r->queue;

	assert(rc <= 0);
	watch_disk(q->disk, rc, NULL);
	q->opts.count(q->opts.opaque, &r->asked, r->len, rc, r->began_ns);
	SCOPED_LOCK(&q->lock);
	SCOPED_VALIDATE(queue, q);
	q->n_endings -= request_is_ending(r);
	q->n_at_worker -= r->state == REQUEST_AT_WORKER;
	q->n_under_way--;
	r->state = REQUEST_READY;
	r->rc = rc;
	if ((q->n_ready == 0 || q->n_under_way == 0) && !r->quiet)
		queue_signal(q);
	ready_add(q, r);
}

/* ---- Reaping ------------------------------------------------------------- */

static void take_one(struct queue *q, struct qcow2_completion *out)
{
	struct request *r = q->ready.first;

	assert(r->state == REQUEST_READY);
	q->ready.first = r->next;
	q->n_ready--;
	*out = (struct qcow2_completion){
		.struct_size = sizeof(*out),
		.user_data = r->asked.user_data,
		.rc = r->rc,
		.op = r->asked.op,
	};
	r->state = REQUEST_FREE;
	r->next = q->free;
	q->free = r;
}

/* Returns how many came. */
static uint32_t take_ready(struct queue *q, struct qcow2_completion *out,
			   uint32_t max)
{
	SCOPED_LOCK(&q->lock);
	SCOPED_VALIDATE(queue, q);
	uint32_t n = 0;

	while (n < max && q->ready.first)
		take_one(q, &out[n++]);
	return n;
}

/* ---- Waiting ------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Milliseconds until @end_ms. */
static int ms_left(int64_t end_ms)
{
	int64_t left = end_ms - now_ms();

	return left > 0 ? (int)left : 0;
}

static bool queue_must_wait(struct queue *q, bool all)
{
	SCOPED_LOCK(&q->lock);

	return q->n_under_way && (all || !q->n_ready);
}

/* Nobody else can complete anything while the caller holds ring_lock. */
static bool all_in_ring(struct queue *q, bool all)
{
	SCOPED_LOCK(&q->lock);

	return q->n_under_way == q->n_in_ring && (all || !q->n_ready);
}

/* Until somebody writes to the eventfd.  0; -EINTR after a signal. */
static int wait_for_event(struct queue *q, int timeout_ms)
{
	struct pollfd p = { .fd = q->opts.event_fd, .events = POLLIN };
	uint64_t count;

	if (poll(&p, 1, timeout_ms) < 0)
		return -errno;
	if (read(q->opts.event_fd, &count, sizeof(count)) > 0)
		q->event_taken = true;
	else if (errno != EAGAIN)
		return -errno;
	return 0;
}

/* A wait of ours read the counter, and the caller has not heard of all that it
 * told: the descriptor becomes readable again. */
static void event_give_back(struct queue *q)
{
	SCOPED_LOCK(&q->lock);

	if (q->event_taken && q->n_ready)
		queue_signal(q);
	q->event_taken = false;
}

/* The kernel's own wait is one system call for three.  The ring is ours
 * meanwhile, and whoever waits for a range finds us at it; but he may have taken
 * transfers from it before, whose completions only the eventfd tells of. */
static int queue_wait(struct queue *q, bool all, int timeout_ms)
{
	struct ring *ring = q->opts.ring;

	if (ring) {
		SCOPED_LOCK(&q->ring_lock);

		if (all_in_ring(q, all))
			return ring->ops->wait(ring, timeout_ms);
	}
	return wait_for_event(q, timeout_ms);
}

/* queue_reap() but for the event. */
static int reap_some(struct queue *q, struct qcow2_completion *out,
		     uint32_t max, int timeout_ms, uint32_t *n)
{
	int64_t end_ms = timeout_ms > 0 ? now_ms() + timeout_ms : 0;
	int rc = 0;

	for (;;) {
		int left = timeout_ms;

		queue_kick(q);
		queue_collect(q, true);
		*n = take_ready(q, out, max);
		if (*n || timeout_ms == 0 || !queue_must_wait(q, false))
			return 0;
		if (timeout_ms > 0)
			left = ms_left(end_ms);
		if (left == 0 || rc == -EINTR)
			return 0;
		rc = queue_wait(q, false, left);
		if (rc < 0 && rc != -EINTR)
			return rc;
	}
}

int queue_reap(struct queue *q, struct qcow2_completion *out, uint32_t max,
	       int timeout_ms, uint32_t *n, struct qcow2_error *err)
{
	int rc = reap_some(q, out, max, timeout_ms, n);

	if (q->event_taken)
		event_give_back(q);
	return rc < 0 ? error_set(err, rc, "cannot wait: %s", error_words(-rc))
		      : 0;
}

void queue_drain(struct queue *q)
{
	for (;;) {
		queue_kick(q);
		queue_collect(q, false);
		if (!queue_must_wait(q, true))
			break;
		queue_wait(q, true, -1);
	}
	event_give_back(q);
}
