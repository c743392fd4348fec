/*
 * The ways of a request: at once, by the ring, by a worker, or blocking.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/iov.h"
#include "base/memory.h"
#include "chain/disk.h"
#include "queue/queue_impl.h"
#include "store/store.h"

enum { COLLECT_AT_ONCE = 64 };

/* ---- The call ------------------------------------------------------------ */

/* Compressed data comes in one piece. */
static int write_compressed(struct request *r, unsigned flags)
{
	const struct qcow2_request *a = &r->asked;
	struct iov_cursor src = iov_cursor_init(a->iov, a->iovcnt);
	CLEANUP_FREE uint8_t *copy = NULL;
	struct iovec piece = iov_next(&src, r->len);

	if (piece.iov_len < r->len) {
		copy = alloc_bytes(r->len);
		if (!copy)
			return error_nomem(a->err, "data to compress", r->len);
		src = iov_cursor_init(a->iov, a->iovcnt);
		iov_copy_out(&src, copy, r->len);
		piece.iov_base = copy;
	}
	return disk_write_compressed(r->queue->disk, piece.iov_base, r->len,
				     a->off, flags, a->err);
}

/* The function of the same name, with @flags in the place of the request's. */
static int request_call(struct request *r, unsigned flags)
{
	const struct qcow2_request *a = &r->asked;
	struct disk *d = r->queue->disk;

	switch (a->op) {
	case QCOW2_OP_READ:
		return disk_preadv(d, a->iov, a->iovcnt, a->off, flags, a->err);
	case QCOW2_OP_WRITE:
		return disk_pwritev(d, a->iov, a->iovcnt, a->off, flags,
				    a->err);
	case QCOW2_OP_ZERO:
		return disk_zero(d, r->len, a->off, flags, a->err);
	case QCOW2_OP_DISCARD:
		return disk_discard(d, r->len, a->off, flags, a->err);
	case QCOW2_OP_WRITE_COMPRESSED:
		return write_compressed(r, flags);
	default:
		return disk_flush(d, a->err);
	}
}

/* ---- Steps that may block ------------------------------------------------ */

/* What the ring has not moved.  The end of the file makes reads short. */
static int move_rest(struct request *r, unsigned flags)
{
	const struct transfer *t = &r->carried.transfer;
	const struct qcow2_request *a = &r->asked;
	struct iov_cursor c = iov_cursor_init(a->iov, a->iovcnt);
	uint64_t left = t->len - r->moved;
	uint64_t off = t->off + r->moved;
	int rc = 0;

	iov_skip(&c, r->moved);
	while (rc == 0 && left) {
		struct iovec iov[IOV_COUNT];
		int n;
		uint64_t part = iov_take(&c, left, iov, IOV_COUNT, &n);

		rc = t->is_write ? store_pwritev(t->store, iov, n, off, flags,
						 a->err)
				 : store_preadv(t->store, iov, n, off, flags,
						a->err);
		left -= part;
		off += part;
	}
	return rc;
}

static int request_flush(struct request *r)
{
	return disk_flush(r->queue->disk, r->asked.err);
}

/* All that is left to do; the result of the request. */
static int do_work(struct request *r)
{
	bool fua = r->asked.flags & QCOW2_FUA;
	int rc = r->rc;

	switch (r->work) {
	case WORK_CALL:
		return request_call(r, r->asked.flags & ~QCOW2_NOWAIT);
	case WORK_FLUSH:
		return request_flush(r);
	case WORK_REST:
		rc = move_rest(r, 0);
		break;
	default:
		break;
	}
	rc = disk_end_carried(&r->carried, rc, 0, r->asked.err);
	return rc == 0 && fua ? request_flush(r) : rc;
}

void request_run_job(struct pool_job *job)
{
	struct request *r = (struct request *)job;

	request_complete(r, do_work(r));
}

/* A worker does @work of the request, or the caller has to. */
static void request_hand_over(struct request *r, enum request_work work)
{
	struct queue *q = r->queue;
	bool has_pool = q->opts.pool;

	r->work = work;
	mutex_lock(&q->lock);
	if (has_pool) {
		r->quiet = false;
		r->state = REQUEST_AT_WORKER;
		q->n_at_worker++;
		q->n_endings += request_is_ending(r);
		q->done.worker += work == WORK_CALL;
	} else {
		q->done.blocking += work == WORK_CALL;
	}
	mutex_unlock(&q->lock);
	if (has_pool) {
		pool_add(q->opts.pool, &r->job);
		return;
	}
	/* The ring works meanwhile. */
	queue_kick(q);
	request_complete(r, do_work(r));
}

/* The request may be another by the time it is taken back. */
static void do_if_ending(struct queue *q, struct request *r)
{
	bool is_ending;

	mutex_lock(&q->lock);
	is_ending = request_is_ending(r);
	mutex_unlock(&q->lock);
	if (!is_ending || !pool_take_back(q->opts.pool, &r->job))
		return;
	if (r->work == WORK_REST || r->work == WORK_END)
		request_run_job(&r->job);
	else
		pool_add(q->opts.pool, &r->job);
}

void queue_do_endings(struct queue *q)
{
	bool any;

	mutex_lock(&q->lock);
	any = q->n_endings > 0;
	mutex_unlock(&q->lock);
	for (uint32_t i = 0; any && i < q->opts.depth; i++)
		do_if_ending(q, &q->requests[i]);
}

void request_abandon(struct request *r)
{
	if (r->work == WORK_REST)
		r->rc = move_rest(r, 0);
	if (r->work == WORK_REST || r->work == WORK_END)
		disk_end_carried(&r->carried, r->rc, 0, NULL);
}

/* ---- The ring ------------------------------------------------------------ */

static void count_one(struct queue *q, uint64_t *number)
{
	SCOPED_LOCK(&q->lock);

	++*number;
}

static int request_would_wait(const struct request *r)
{
	return error_set(r->asked.err, -EAGAIN,
			 "the request has to wait for a disk, a peer or a "
			 "processor");
}

/* The bytes have moved, or have not: ends the request as far as that does not
 * block. */
static void request_end(struct request *r, int rc)
{
	bool fua = r->asked.flags & QCOW2_FUA;
	bool nowait = r->asked.flags & QCOW2_NOWAIT;

	r->rc = rc;
	rc = disk_end_carried(&r->carried, rc, QCOW2_NOWAIT, r->asked.err);
	if (rc == -EAGAIN && r->rc == 0 && nowait)
		rc = disk_end_carried(&r->carried, -EAGAIN, 0, NULL);
	if (rc == -EAGAIN && nowait)
		request_complete(r, request_would_wait(r));
	else if (rc == -EAGAIN && r->rc == 0)
		request_hand_over(r, WORK_END);
	else if (rc == 0 && fua)
		request_hand_over(r, WORK_FLUSH);
	else
		request_complete(r, rc);
}

/* These say nothing about the bytes: the kernel had no time, or the thread that
 * submitted them has gone. */
static bool is_no_answer(int res)
{
	return res == -EAGAIN || res == -EINTR || res == -ECANCELED;
}

static void request_moved(struct request *r, int res)
{
	const struct transfer *t = &r->carried.transfer;
	bool is_short = is_no_answer(res) ||
			(res >= 0 && (uint64_t)res < t->len);
	int rc = transfer_end(t, res < 0 && !is_short ? res : 0, r->asked.err);

	if (!is_short) {
		request_end(r, rc);
		return;
	}
	r->rc = 0;
	r->moved = res > 0 ? (uint64_t)res : 0;
	if (r->asked.flags & QCOW2_NOWAIT)
		request_end(r, move_rest(r, QCOW2_STORE_NOWAIT));
	else
		request_hand_over(r, WORK_REST);
}

static uint32_t collect_some(struct queue *q, bool quiet)
{
	struct ring_done done[COLLECT_AT_ONCE];
	struct ring *ring = q->opts.ring;
	uint32_t n;

	mutex_lock(&q->ring_lock);
	n = ring->ops->reap(ring, done, COLLECT_AT_ONCE);
	q->n_in_ring -= n;
	mutex_unlock(&q->ring_lock);
	for (uint32_t i = 0; i < n; i++) {
		struct request *r = done[i].owner;

		r->quiet = quiet;
		request_moved(r, done[i].res);
	}
	return n;
}

/* All: the event that told of them may be gone. */
void queue_collect(struct queue *q, bool quiet)
{
	uint32_t n = COLLECT_AT_ONCE;

	while (q->opts.ring && n == COLLECT_AT_ONCE)
		n = collect_some(q, quiet);
}

/* The request was begun, and its bytes have to move.  False when the ring
 * cannot do that. */
static bool ring_takes(struct request *r)
{
	struct ring *ring = r->queue->opts.ring;
	const struct qcow2_request *a = &r->asked;
	struct ring_transfer t = {
		.fd = transfer_begin(&r->carried.transfer, a->iov, a->iovcnt),
		.is_write = r->carried.transfer.is_write,
		.iov = a->iov,
		.iovcnt = a->iovcnt,
		.off = r->carried.transfer.off,
		.owner = r,
	};
	bool taken;

	if (t.fd < 0)
		return false;
	count_one(r->queue, &r->queue->done.ring);
	mutex_lock(&r->queue->ring_lock);
	taken = ring->ops->add(ring, &t);
	r->queue->n_in_ring += taken;
	mutex_unlock(&r->queue->ring_lock);
	/* It has as many places as the queue. */
	assert(taken);
	return true;
}

/* 0 when the request has been carried on, or is complete; -EAGAIN when it takes
 * another way. */
static int request_carry(struct request *r)
{
	const struct qcow2_request *a = &r->asked;
	struct disk *d = r->queue->disk;
	struct iov_cursor all = iov_cursor_init(a->iov, a->iovcnt);
	bool is_write = a->op == QCOW2_OP_WRITE;
	int rc = is_write ? disk_begin_write(d, r->len, a->off, &r->carried,
					     a->err)
			  : disk_begin_read(d, r->len, a->off, &r->carried,
					    a->err);

	if (rc < 0)
		return rc;
	if (r->carried.transfer.store && ring_takes(r))
		return 0;
	if (r->carried.transfer.store) {
		disk_end_carried(&r->carried, -EAGAIN, 0, NULL);
		return -EAGAIN;
	}
	iov_zero(&all, r->len);
	count_one(r->queue, &r->queue->done.at_once);
	request_end(r, 0);
	return 0;
}

/* ---- Start --------------------------------------------------------------- */

static bool can_be_carried(const struct request *r)
{
	return r->queue->opts.ring && r->len &&
	       (r->asked.op == QCOW2_OP_READ || r->asked.op == QCOW2_OP_WRITE);
}

/* A flush waits for the disk, and so do a compressor, and FUA. */
static bool may_be_at_once(const struct request *r)
{
	return r->asked.op != QCOW2_OP_FLUSH &&
	       r->asked.op != QCOW2_OP_WRITE_COMPRESSED &&
	       !(r->asked.flags & QCOW2_FUA);
}

void request_start(struct request *r)
{
	struct queue *q = r->queue;
	bool nowait = r->asked.flags & QCOW2_NOWAIT;
	int rc = -EAGAIN;

	/* An end that has to flush must have somebody to do it. */
	if (can_be_carried(r) && !(nowait && (r->asked.flags & QCOW2_FUA)))
		rc = request_carry(r);
	if (rc == 0)
		return;
	if (rc == -EAGAIN && may_be_at_once(r))
		rc = request_call(r, r->asked.flags | QCOW2_NOWAIT);
	if (rc == -EAGAIN && !nowait) {
		request_hand_over(r, WORK_CALL);
	} else {
		count_one(q, &q->done.at_once);
		request_complete(r, rc == -EAGAIN ? request_would_wait(r) : rc);
	}
}
