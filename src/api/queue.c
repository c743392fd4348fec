/*
 * Pools and queues, made and freed: argument checks, then queue/.
 */
#include "api/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/options.h"
#include "queue/pool.h"

enum {
	THREADS_MAX = 256,
	DEPTH_DEFAULT = 128,
	DEPTH_MAX = 4096,
	SQPOLL_IDLE_MS = 1000,
	REGIONS_MAX = 1024,
};

#define REGION_BYTES_MAX (UINT64_C(1) << 30)

#define QUEUE_FLAGS_KNOWN \
	(QCOW2_QUEUE_NO_RING | QCOW2_QUEUE_NEED_RING | QCOW2_QUEUE_SQPOLL)

/* ---- Pools --------------------------------------------------------------- */

int qcow2_pool_new(const struct qcow2_pool_opts *opts, struct qcow2_pool **out,
		   struct qcow2_error *err)
{
	struct qcow2_pool_opts own;
	int rc;

	if (!out)
		return error_set(err, -EINVAL, "out is NULL");
	rc = options_copy(&own, sizeof(own), opts, "qcow2_pool_opts", err);
	if (rc < 0)
		return rc;
	if (own.flags || own.reserved[0] || own.reserved[1])
		return error_set(err, -EINVAL,
				 "qcow2_pool_opts.flags and reserved must be "
				 "0");
	if (own.n_threads > THREADS_MAX)
		return error_set(err, -EINVAL,
				 "n_threads is %" PRIu32 ", must be 0 to %d",
				 own.n_threads, THREADS_MAX);
	return pool_new(own.n_threads ? own.n_threads : 1, out, err);
}

void qcow2_pool_free(struct qcow2_pool *pool)
{
	pool_free(pool);
}

/* ---- Options ------------------------------------------------------------- */

static int queue_check_numbers(const struct qcow2_queue_opts *o,
			       struct qcow2_error *err)
{
	if (o->depth > DEPTH_MAX)
		return error_set(err, -EINVAL,
				 "depth is %" PRIu32 ", must be 0 to %d",
				 o->depth, DEPTH_MAX);
	if (o->n_workers > THREADS_MAX)
		return error_set(err, -EINVAL,
				 "n_workers is %" PRIu32 ", must be 0 to %d",
				 o->n_workers, THREADS_MAX);
	if (o->pool && o->n_workers)
		return error_set(err, -EINVAL,
				 "n_workers is %" PRIu32 ", must be 0 with a "
				 "pool",
				 o->n_workers);
	for (unsigned i = 0; i < 4; i++)
		if (o->reserved[i])
			return error_set(err, -EINVAL,
					 "qcow2_queue_opts.reserved is not 0");
	return 0;
}

static int queue_check_opts(const struct qcow2_queue_opts *o,
			    struct qcow2_error *err)
{
	if (o->flags & ~QUEUE_FLAGS_KNOWN)
		return error_set(err, -EINVAL,
				 "queue flags 0x%" PRIx32 " are not known",
				 o->flags & ~QUEUE_FLAGS_KNOWN);
	if ((o->flags & QCOW2_QUEUE_NO_RING) &&
	    (o->flags & (QCOW2_QUEUE_NEED_RING | QCOW2_QUEUE_SQPOLL)))
		return error_set(err, -EINVAL,
				 "QCOW2_QUEUE_NO_RING goes with no other "
				 "flag");
	return queue_check_numbers(o, err);
}

/* ---- Queues -------------------------------------------------------------- */

/* Each request that ends is one of the image's, however it was made. */
static void queue_count(void *opaque, const struct qcow2_request *asked,
			uint64_t len, int rc, uint64_t began_ns)
{
	static const enum request_kind kinds[] = {
		[QCOW2_OP_READ] = REQUEST_READ,
		[QCOW2_OP_WRITE] = REQUEST_WRITE,
		[QCOW2_OP_ZERO] = REQUEST_ZERO,
		[QCOW2_OP_DISCARD] = REQUEST_DISCARD,
		[QCOW2_OP_FLUSH] = REQUEST_FLUSH,
		[QCOW2_OP_WRITE_COMPRESSED] = REQUEST_WRITE_COMPRESSED,
	};
	struct qcow2_image *img = opaque;

	if (rc != -EINVAL)
		requests_count(&img->requests[kinds[asked->op]], rc, len,
			       began_ns);
}

/* *ring stays NULL where the host has none, and none is needed. */
static int queue_make_ring(const struct qcow2_queue_opts *o, int event_fd,
			   struct ring **ring, struct qcow2_error *err)
{
	struct ring_opts opts = {
		.depth = o->depth,
		.sqpoll = o->flags & QCOW2_QUEUE_SQPOLL,
		.sqpoll_idle_ms = o->sqpoll_idle_ms ? o->sqpoll_idle_ms
						    : SQPOLL_IDLE_MS,
		.event_fd = event_fd,
	};
	int rc;

	*ring = NULL;
	if (o->flags & QCOW2_QUEUE_NO_RING)
		return 0;
	rc = uring_new(&opts, ring, err);
	return rc == -ENOTSUP && !(o->flags & QCOW2_QUEUE_NEED_RING) ? 0 : rc;
}

static int queue_make(struct qcow2_queue *q, const struct qcow2_queue_opts *o,
		      struct qcow2_error *err)
{
	struct queue_opts opts = { .depth = o->depth,
				   .pool = o->pool ? o->pool : q->own_pool,
				   .event_fd = q->event_fd,
				   .count = queue_count,
				   .opaque = q->img };
	int rc = queue_make_ring(o, q->event_fd, &opts.ring, err);

	if (rc < 0) {
		close(q->event_fd);
		return rc;
	}
	return queue_new(q->img->disk, &opts, &q->queue, err);
}

static int queue_open(struct qcow2_queue *q, const struct qcow2_queue_opts *o,
		      struct qcow2_error *err)
{
	int rc = 0;

	if (o->n_workers)
		rc = pool_new(o->n_workers, &q->own_pool, err);
	if (rc < 0)
		return rc;
	q->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->event_fd < 0) {
		rc = -errno;
		error_set(err, rc, "cannot make an eventfd: %s",
			  error_words(-rc));
	} else {
		rc = queue_make(q, o, err);
	}
	if (rc < 0)
		pool_free(q->own_pool);
	return rc;
}

int qcow2_queue_new(struct qcow2_image *img,
		    const struct qcow2_queue_opts *opts,
		    struct qcow2_queue **out, struct qcow2_error *err)
{
	struct qcow2_queue_opts own;
	struct qcow2_queue *q;
	int rc = handle_check(img, err);

	if (rc == 0 && !out)
		rc = error_set(err, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = options_copy(&own, sizeof(own), opts, "qcow2_queue_opts",
				  err);
	if (rc == 0)
		rc = queue_check_opts(&own, err);
	if (rc < 0)
		return rc;
	if (own.pool && !process_mark_is_here(&own.pool->mark))
		return error_set(err, -ECHILD,
				 "the pool was made before this process was "
				 "forked, and its threads are the parent's");
	if (!own.depth)
		own.depth = DEPTH_DEFAULT;
	q = calloc(1, sizeof(*q));
	if (!q)
		return error_nomem(err, "a queue", sizeof(*q));
	q->img = img;
	rc = queue_open(q, &own, err);
	if (rc < 0)
		free(q);
	else
		*out = q;
	return rc;
}

void qcow2_queue_free(struct qcow2_queue *queue)
{
	if (!queue || queue_check_here(queue->queue, NULL) < 0)
		return;
	queue_free(queue->queue);
	pool_free(queue->own_pool);
	free(queue);
}

int qcow2_queue_fd(const struct qcow2_queue *queue)
{
	int rc = queue_check(queue, NULL);

	return rc < 0 ? rc : queue->event_fd;
}

int queue_check(const struct qcow2_queue *queue, struct qcow2_error *err)
{
	if (!queue)
		return error_set(err, -EINVAL, "the queue is NULL");
	return queue_check_here(queue->queue, err);
}

static int queue_check_memory(const struct iovec *iov, int iovcnt,
			      struct qcow2_error *err)
{
	if (!iov || iovcnt < 1 || iovcnt > REGIONS_MAX)
		return error_set(err, -EINVAL,
				 "iovcnt is %d, must be 1 to %d, and iov not "
				 "NULL",
				 iovcnt, REGIONS_MAX);
	for (int i = 0; i < iovcnt; i++)
		if (!iov[i].iov_base || !iov[i].iov_len ||
		    iov[i].iov_len > REGION_BYTES_MAX)
			return error_set(err, -EINVAL,
					 "segment %d has %zu bytes, must have "
					 "1 to 2^30",
					 i, iov[i].iov_len);
	return 0;
}

int qcow2_queue_register(struct qcow2_queue *queue, const struct iovec *iov,
			 int iovcnt, struct qcow2_error *err)
{
	int rc = queue_check(queue, err);

	if (rc == 0)
		rc = queue_check_memory(iov, iovcnt, err);
	return rc < 0 ? rc : queue_register(queue->queue, iov, iovcnt, err);
}

int qcow2_queue_get_info(struct qcow2_queue *queue,
			 struct qcow2_queue_info *out, struct qcow2_error *err)
{
	struct qcow2_queue_info full = QCOW2_QUEUE_INFO_INIT;
	int rc = queue_check(queue, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc < 0)
		return rc;
	queue_get_info(queue->queue, &full);
	return options_give(out, &full, sizeof(full), err);
}
