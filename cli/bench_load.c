/*
 * The load of `qcow2 bench`: a thread for each queue keeps so many requests
 * under way, and takes the time of each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

enum { BUFFER_ALIGNMENT = 4096 };

/* Shared by all queues. */
struct load {
	const struct bench_options *o;
	struct qcow2_image *img;
	uint64_t disk_bytes;
	uint64_t read_percent;
	uint64_t end_ns;          /* of the time; UINT64_MAX: none */
	_Atomic uint64_t n_taken; /* requests that some queue has begun */
	_Atomic bool failed;
	pthread_mutex_t lock; /* protects what follows */
	int rc;
	struct qcow2_error err; /* of the first request that failed */
};

struct slot {
	struct qcow2_error err;
	struct iovec iov;
	uint64_t begin_ns;
	bool busy;
};

struct load_queue {
	struct load *load;
	struct qcow2_queue *queue;
	pthread_t thread;
	struct slot *slots; /* depth of them, and one for a flush */
	void *buffers;
	uint64_t random;
	uint64_t n_since_flush;
	uint64_t n_under_way;
	struct bench_result result;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t random_below(struct load_queue *q, uint64_t limit)
{
	q->random = q->random * 6364136223846793005 + 1442695040888963407;
	return (q->random >> 20) % limit;
}

static void load_fail(struct load *l, int rc, const struct qcow2_error *err)
{
	pthread_mutex_lock(&l->lock);
	if (!l->failed) {
		l->rc = rc;
		l->err = *err;
	}
	l->failed = true;
	pthread_mutex_unlock(&l->lock);
}

/* A request that would reach past the end of the disk begins at its start. */
static uint64_t load_offset(struct load_queue *q, uint64_t i)
{
	const struct bench_options *o = q->load->o;
	uint64_t size = q->load->disk_bytes;
	uint64_t off;

	if (o->random && o->step)
		i = random_below(
			q, (size - o->offset - o->size_bytes) / o->step + 1);
	off = (o->offset + i % size * o->step % size) % size;
	return off > size - o->size_bytes ? 0 : off;
}

/* ---- One queue ----------------------------------------------------------- */

static void slot_describe(struct load_queue *q, struct slot *s,
			  struct qcow2_request *r)
{
	*r = (struct qcow2_request)QCOW2_REQUEST_INIT;
	r->user_data = (uint64_t)(s - q->slots);
	r->err = &s->err;
	s->busy = true;
	s->begin_ns = now_ns();
	q->n_under_way++;
}

static void describe_flush(struct load_queue *q, struct qcow2_request *r)
{
	slot_describe(q, &q->slots[q->load->o->depth], r);
	r->op = QCOW2_OP_FLUSH;
	q->n_since_flush = 0;
}

/* Returns false when all requests have been begun. */
static bool describe_next(struct load_queue *q, struct slot *s,
			  struct qcow2_request *r)
{
	struct load *l = q->load;
	uint64_t i;

	if (l->failed || now_ns() >= l->end_ns)
		return false;
	i = l->n_taken++;
	if (i >= l->o->n_requests)
		return false;
	slot_describe(q, s, r);
	r->op = random_below(q, 100) < l->read_percent ? QCOW2_OP_READ
						       : QCOW2_OP_WRITE;
	r->flags = r->op == QCOW2_OP_WRITE && l->o->cache &&
				   l->o->cache->sync_each
			   ? QCOW2_FUA
			   : 0;
	r->iov = &s->iov;
	r->iovcnt = 1;
	r->off = load_offset(q, i);
	q->n_since_flush++;
	return true;
}

/* Returns the number of requests that can begin now.  A flush comes alone if
 * the queue is drained for it. */
static uint32_t describe_all(struct load_queue *q, struct qcow2_request *batch)
{
	const struct bench_options *o = q->load->o;
	struct slot *flush = &q->slots[o->depth];
	uint32_t n = 0;

	if (flush->busy && !o->no_drain)
		return 0;
	for (uint64_t i = 0; i < o->depth; i++) {
		if (o->flush_interval &&
		    q->n_since_flush >= o->flush_interval) {
			if (!flush->busy && (o->no_drain || !q->n_under_way))
				describe_flush(q, &batch[n++]);
			if (!o->no_drain || flush->busy)
				break;
		}
		if (q->slots[i].busy)
			continue;
		if (!describe_next(q, &q->slots[i], &batch[n]))
			break;
		n++;
	}
	return n;
}

static void slot_end(struct load_queue *q, const struct qcow2_completion *c)
{
	struct slot *s = &q->slots[c->user_data];

	s->busy = false;
	q->n_under_way--;
	if (c->rc < 0)
		load_fail(q->load, c->rc, &s->err);
	if (c->op == QCOW2_OP_FLUSH) {
		q->result.n_flushes++;
		return;
	}
	q->result.n_requests++;
	bench_histogram_add(&q->result.latency, now_ns() - s->begin_ns);
}

static int turn(struct load_queue *q, struct qcow2_request *batch,
		struct qcow2_completion *done, struct qcow2_error *err)
{
	uint32_t max = (uint32_t)q->load->o->depth + 1;
	uint32_t n = describe_all(q, batch), n_taken;
	int rc = 0;

	/* The queue has a place for each slot, so it takes all. */
	if (n)
		rc = qcow2_queue_submit(q->queue, batch, n, &n_taken, err);
	done->struct_size = sizeof(*done);
	if (rc == 0)
		rc = qcow2_queue_reap(q->queue, done, max, -1, &n, err);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		slot_end(q, &done[i]);
	return rc;
}

static void *queue_run(void *opaque)
{
	struct load_queue *q = opaque;
	size_t n_slots = (size_t)q->load->o->depth + 1;
	struct qcow2_request *batch = calloc(n_slots, sizeof(*batch));
	struct qcow2_completion *done = calloc(n_slots, sizeof(*done));
	struct qcow2_error err = { .message = "not enough memory" };
	int rc = batch && done ? 0 : -ENOMEM;

	while (rc == 0) {
		rc = turn(q, batch, done, &err);
		if (!q->n_under_way &&
		    (q->load->failed || now_ns() >= q->load->end_ns ||
		     q->load->n_taken >= q->load->o->n_requests))
			break;
	}
	if (rc < 0)
		load_fail(q->load, rc, &err);
	free(batch);
	free(done);
	return NULL;
}

/* ---- Begin and end ------------------------------------------------------- */

static int queue_buffers(struct load_queue *q)
{
	const struct bench_options *o = q->load->o;
	size_t each = (size_t)o->size_bytes;

	q->slots = calloc((size_t)o->depth + 1, sizeof(*q->slots));
	if (!q->slots || posix_memalign(&q->buffers, BUFFER_ALIGNMENT,
					each * (size_t)o->depth))
		return -ENOMEM;
	memset(q->buffers, (int)o->pattern, each * (size_t)o->depth);
	for (size_t i = 0; i < o->depth; i++)
		q->slots[i].iov =
			(struct iovec){ (char *)q->buffers + i * each, each };
	return 0;
}

static int queue_begin(struct load_queue *q, struct qcow2_pool *pool,
		       struct qcow2_error *err)
{
	const struct bench_options *o = q->load->o;
	struct qcow2_queue_opts opts = QCOW2_QUEUE_OPTS_INIT;
	int rc = queue_buffers(q);

	if (rc < 0) {
		strcpy(err->message, "not enough memory for the buffers");
		return rc;
	}
	opts.depth = (uint32_t)o->depth + 1;
	opts.pool = pool;
	opts.flags = (o->no_ring ? QCOW2_QUEUE_NO_RING : 0) |
		     (o->sqpoll ? QCOW2_QUEUE_SQPOLL : 0) |
		     (o->aio && strcmp(o->aio, "io_uring") == 0
			      ? QCOW2_QUEUE_NEED_RING
			      : 0);
	return qcow2_queue_new(q->load->img, &opts, &q->queue, err);
}

static void queue_end(struct load_queue *q, struct bench_result *sum)
{
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;

	if (q->queue && qcow2_queue_get_info(q->queue, &info, NULL) == 0) {
		sum->n_at_once += info.n_inline;
		sum->n_ring += info.n_ring;
		sum->n_worker += info.n_worker;
		sum->n_blocking += info.n_blocking;
	}
	sum->n_requests += q->result.n_requests;
	sum->n_flushes += q->result.n_flushes;
	bench_histogram_merge(&sum->latency, &q->result.latency);
	qcow2_queue_free(q->queue);
	free(q->slots);
	free(q->buffers);
}

static uint64_t time_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_usec * 1000;
}

static void run_queues(struct load *l, struct load_queue *queues,
		       struct bench_result *r)
{
	uint64_t begin = now_ns(), n = 1;
	struct rusage before, after;

	if (l->o->seconds)
		l->end_ns = begin + l->o->seconds * 1000000000;
	getrusage(RUSAGE_SELF, &before);
	while (n < l->o->n_queues && pthread_create(&queues[n].thread, NULL,
						    queue_run, &queues[n]) == 0)
		n++;
	if (n < l->o->n_queues)
		load_fail(l, -EAGAIN,
			  &(struct qcow2_error){ .message = "no threads" });
	queue_run(&queues[0]);
	while (--n)
		pthread_join(queues[n].thread, NULL);
	getrusage(RUSAGE_SELF, &after);
	r->wall_ns = now_ns() - begin;
	r->user_ns = time_ns(&after.ru_utime) - time_ns(&before.ru_utime);
	r->system_ns = time_ns(&after.ru_stime) - time_ns(&before.ru_stime);
}

static int load_with_pool(struct load *l, struct qcow2_pool *pool,
			  struct bench_result *r)
{
	static struct load_queue queues[BENCH_QUEUES_MAX];
	uint64_t n = 0;

	while (n < l->o->n_queues && l->rc == 0) {
		queues[n] = (struct load_queue){ .load = l, .random = n };
		l->rc = queue_begin(&queues[n++], pool, &l->err);
	}
	if (l->rc == 0)
		run_queues(l, queues, r);
	while (n)
		queue_end(&queues[--n], r);
	return l->rc;
}

int bench_load(const struct bench_options *o, struct qcow2_image *img,
	       struct bench_result *result, struct qcow2_error *err)
{
	struct qcow2_pool_opts opts = QCOW2_POOL_OPTS_INIT;
	static struct load l = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct qcow2_pool *pool = NULL;
	int rc = 0;

	l.o = o;
	l.img = img;
	l.disk_bytes = qcow2_size(img);
	l.read_percent = o->read_percent != BENCH_NOT_SAID ? o->read_percent
			 : o->write                        ? 0
							   : 100;
	l.end_ns = UINT64_MAX;
	opts.n_threads = (uint32_t)o->n_workers;
	if (o->n_workers)
		rc = qcow2_pool_new(&opts, &pool, err);
	if (rc < 0)
		return rc;
	rc = load_with_pool(&l, pool, result);
	*err = l.err;
	qcow2_pool_free(pool);
	return rc;
}
