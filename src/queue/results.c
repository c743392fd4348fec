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
static void queue_signal(struct queue *q)
{
	uint64_t one = 1;
	ssize_t n = write(q->opts.event_fd, &one, sizeof(one));

	assert(n == sizeof(one) || errno == EAGAIN);
}

/* Somebody may wait for the first completion, or for the last.  The signal
 * comes under the lock: the owner frees the queue only after it has seen, under
 * the lock, that nothing is under way. */
void request_complete(struct request *r, int rc)
{
	struct queue *q = r->queue;

	assert(rc <= 0);
	q->opts.count(q->opts.opaque, &r->asked, r->len, rc);
	SCOPED_LOCK(&q->lock);
	SCOPED_VALIDATE(queue, q);
	q->n_at_worker -= r->state == REQUEST_AT_WORKER;
	q->n_under_way--;
	r->state = REQUEST_READY;
	r->rc = rc;
	if (!r->quiet && (q->n_ready == 0 || q->n_under_way == 0))
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

struct deadline {
	int64_t at_ms; /* -1: none */
};

static struct deadline deadline_in(int timeout_ms)
{
	return (struct deadline){ timeout_ms < 0 ? -1 : now_ms() + timeout_ms };
}

/* Milliseconds, -1 for no limit. */
static int deadline_left(struct deadline d)
{
	int64_t left = d.at_ms < 0 ? -1 : d.at_ms - now_ms();

	if (d.at_ms >= 0 && left < 0)
		return 0;
	return (int)left;
}

/* What there is to wait for. */
enum waiting {
	WAIT_NOTHING, /* something is ready, or nothing under way */
	WAIT_RING,    /* for the ring alone */
	WAIT_ANY,
};

static enum waiting queue_waits_for(struct queue *q, bool all)
{
	SCOPED_LOCK(&q->lock);

	if (q->n_under_way == 0 || (!all && q->n_ready))
		return WAIT_NOTHING;
	return q->n_at_worker == 0 && q->opts.ring ? WAIT_RING : WAIT_ANY;
}

/* Until somebody writes to the eventfd.  0; -EINTR after a signal. */
static int wait_for_event(struct queue *q, int timeout_ms)
{
	struct pollfd p = { .fd = q->opts.event_fd, .events = POLLIN };
	uint64_t count;

	if (poll(&p, 1, timeout_ms) < 0)
		return -errno;
	if (read(q->opts.event_fd, &count, sizeof(count)) < 0 &&
	    errno != EAGAIN)
		return -errno;
	return 0;
}

/* The kernel's own wait is one system call for three; the ring is ours
 * meanwhile, and whoever waits for a range finds us at it. */
static int wait_for_ring(struct queue *q, int timeout_ms)
{
	struct ring *ring = q->opts.ring;
	SCOPED_LOCK(&q->ring_lock);

	ring->ops->wait(ring, timeout_ms);
	return 0;
}

static int queue_wait(struct queue *q, enum waiting what, int timeout_ms)
{
	return what == WAIT_RING ? wait_for_ring(q, timeout_ms)
				 : wait_for_event(q, timeout_ms);
}

int queue_reap(struct queue *q, struct qcow2_completion *out, uint32_t max,
	       int timeout_ms, uint32_t *n, struct qcow2_error *err)
{
	struct deadline end = deadline_in(timeout_ms);
	int rc = 0;

	for (;;) {
		enum waiting what;
		int left = timeout_ms;

		queue_kick(q);
		queue_collect(q, true);
		*n = take_ready(q, out, max);
		what = queue_waits_for(q, false);
		if (*n || timeout_ms == 0 || what == WAIT_NOTHING)
			return 0;
		if (timeout_ms > 0)
			left = deadline_left(end);
		if (left == 0 || rc == -EINTR)
			return 0;
		rc = queue_wait(q, what, left);
		if (rc < 0 && rc != -EINTR)
			return error_set(err, rc, "cannot wait: %s",
					 error_words(-rc));
	}
}

void queue_drain(struct queue *q)
{
	enum waiting what;

	queue_kick(q);
	for (;;) {
		while (queue_collect(q, false))
			;
		what = queue_waits_for(q, true);
		if (what == WAIT_NOTHING)
			return;
		queue_wait(q, what, -1);
	}
}
