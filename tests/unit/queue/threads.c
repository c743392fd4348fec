/*
 * Four threads, each with a queue of its own, over one disk, while a fifth makes
 * and deletes snapshots.  Blocks of all threads lie in the same clusters, and
 * each block belongs to one of them, who knows its byte; some blocks are
 * everybody's.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/amount.h"
#include "support/test.h"

#define ok(expression) assert_int_equal((expression), 0)

enum {
	N_THREADS = 4,
	N_BLOCKS = 192, /* of each thread */
	N_SHARED = 32,  /* behind all of these */
	BLOCK = 4096,
	DEPTH = 16,
	DISK = 16 << 20,
	HANGS_AFTER_SEC = 100,
};

struct kind {
	uint32_t queue_flags;
	uint32_t n_workers; /* of each queue */
	uint32_t n_shared;  /* threads of a pool for all of them */
};

struct scene {
	struct qcow2_image *img;
	struct qcow2_pool *pool;
	const struct kind *kind;
	atomic_bool stop; /* the snapshots */
};

/* One request. */
struct slot {
	bool busy;
	uint32_t op;
	unsigned block; /* N_BLOCKS and more: a shared one */
	uint8_t byte;
	uint8_t buf[BLOCK];
	struct iovec iov;
};

struct worker {
	struct scene *scene;
	unsigned id;
	struct test_rng rng;
	struct qcow2_queue *q;
	bool block_busy[N_BLOCKS + N_SHARED];
	uint8_t bytes[N_BLOCKS];
	struct slot slots[DEPTH];
	unsigned n_busy;
	unsigned n_left;
	pthread_t thread;
};

static uint64_t block_off(unsigned id, unsigned block)
{
	if (block < N_BLOCKS)
		return (uint64_t)(block * N_THREADS + id) * BLOCK;
	return (uint64_t)(N_BLOCKS * N_THREADS + block - N_BLOCKS) * BLOCK;
}

static void begin_one(struct worker *w, unsigned i)
{
	static const uint32_t ops[] = { QCOW2_OP_READ,  QCOW2_OP_READ,
					QCOW2_OP_WRITE, QCOW2_OP_WRITE,
					QCOW2_OP_WRITE, QCOW2_OP_ZERO };
	struct slot *s = &w->slots[i];
	struct qcow2_request r = QCOW2_REQUEST_INIT;
	uint32_t taken;

	s->block = (unsigned)test_rng_below(&w->rng, N_BLOCKS + N_SHARED);
	if (w->block_busy[s->block])
		return;
	s->op = ops[test_rng_below(&w->rng, 6)];
	s->byte = (uint8_t)(1 + test_rng_below(&w->rng, 255));
	memset(s->buf, s->byte, BLOCK);
	s->iov = (struct iovec){ s->buf, BLOCK };
	r.op = s->op;
	r.off = block_off(w->id, s->block);
	r.user_data = i;
	if (s->op == QCOW2_OP_ZERO) {
		r.len = BLOCK;
	} else {
		r.iov = &s->iov;
		r.iovcnt = 1;
	}
	if (s->op == QCOW2_OP_WRITE && test_rng_below(&w->rng, 40) == 0)
		r.flags = QCOW2_FUA;
	ok(qcow2_queue_submit(w->q, &r, 1, &taken, NULL));
	assert_int_equal(taken, 1);
	s->busy = true;
	w->block_busy[s->block] = true;
	w->n_busy++;
	w->n_left--;
}

static bool is_all(const uint8_t *buf, uint8_t byte)
{
	return buf[0] == byte && memcmp(buf, buf + 1, BLOCK - 1) == 0;
}

static void end_one(struct worker *w, const struct qcow2_completion *c)
{
	struct slot *s = &w->slots[c->user_data];

	ok(c->rc);
	assert_true(s->busy);
	s->busy = false;
	w->block_busy[s->block] = false;
	w->n_busy--;
	if (s->block >= N_BLOCKS)
		return;
	if (s->op == QCOW2_OP_READ)
		assert_true(is_all(s->buf, w->bytes[s->block]));
	else
		w->bytes[s->block] = s->op == QCOW2_OP_WRITE ? s->byte : 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct qcow2_completion c[DEPTH] = { QCOW2_COMPLETION_INIT };
	uint32_t n;

	while (w->n_left || w->n_busy) {
		for (unsigned i = 0; i < DEPTH && w->n_left; i++)
			if (!w->slots[i].busy)
				begin_one(w, i);
		ok(qcow2_queue_reap(w->q, c, DEPTH, -1, &n, NULL));
		for (uint32_t i = 0; i < n; i++)
			end_one(w, &c[i]);
	}
	return NULL;
}

static void *make_snapshots(void *arg)
{
	struct scene *s = arg;

	while (!atomic_load(&s->stop)) {
		ok(qcow2_snapshot_create(s->img, "now", NULL, NULL));
		ok(qcow2_flush(s->img, NULL));
		usleep(2000);
		ok(qcow2_snapshot_delete(s->img, "now", NULL));
		usleep(2000);
	}
	return NULL;
}

static void worker_init(struct worker *w, struct scene *s, unsigned id,
			uint64_t seed)
{
	struct qcow2_queue_opts o = QCOW2_QUEUE_OPTS_INIT;

	w->scene = s;
	w->id = id;
	w->rng = test_rng_init(seed + id);
	w->n_left = TEST_AMOUNT(1500, 300);
	o.flags = s->kind->queue_flags;
	o.depth = DEPTH;
	o.n_workers = s->kind->n_workers;
	o.pool = s->pool;
	ok(qcow2_queue_new(s->img, &o, &w->q, NULL));
}

static void check_blocks(struct worker *w)
{
	uint8_t buf[BLOCK];

	for (unsigned i = 0; i < N_BLOCKS + N_SHARED; i++) {
		ok(qcow2_pread(w->scene->img, buf, BLOCK, block_off(w->id, i),
			       0, NULL));
		assert_true(is_all(buf, i < N_BLOCKS ? w->bytes[i] : buf[0]));
	}
}

static void scene_open(struct scene *s, const char *path)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_pool_opts po = QCOW2_POOL_OPTS_INIT;

	alarm(HANGS_AFTER_SEC);
	create.virtual_size = DISK;
	ok(qcow2_create_path(path, &create, NULL));
	open.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_path(path, &open, &s->img, NULL));
	po.n_threads = s->kind->n_shared;
	if (po.n_threads)
		ok(qcow2_pool_new(&po, &s->pool, NULL));
}

static void scene_close(struct scene *s, const char *path)
{
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;

	qcow2_pool_free(s->pool);
	ok(qcow2_close(s->img, NULL));
	ok(qcow2_check_path(path, NULL, &result, NULL));
	assert_int_equal(result.corruptions, 0);
	assert_int_equal(result.leaks, 0);
	unlink(path);
}

static void run_threads(const struct kind *k)
{
	struct worker *w = calloc(N_THREADS, sizeof(*w));
	struct scene s = { .kind = k };
	uint64_t seed = test_seed();
	pthread_t snapshots;
	char path[64];

	assert_non_null(w);
	snprintf(path, sizeof(path), "./queue-threads-%d.qcow2", (int)getpid());
	scene_open(&s, path);
	for (unsigned i = 0; i < N_THREADS; i++)
		worker_init(&w[i], &s, i, seed);
	ok(pthread_create(&snapshots, NULL, make_snapshots, &s));
	for (unsigned i = 0; i < N_THREADS; i++)
		ok(pthread_create(&w[i].thread, NULL, work, &w[i]));
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(w[i].thread, NULL);
	atomic_store(&s.stop, true);
	pthread_join(snapshots, NULL);
	for (unsigned i = 0; i < N_THREADS; i++) {
		check_blocks(&w[i]);
		qcow2_queue_free(w[i].q);
	}
	scene_close(&s, path);
	free(w);
}

TEST(queues_with_a_ring_and_a_worker_each)
{
	run_threads(&(struct kind){ 0, 1, 0 });
}

TEST(queues_with_rings_and_one_worker_for_all)
{
	run_threads(&(struct kind){ 0, 0, 1 });
}

TEST(queues_with_rings_alone)
{
	run_threads(&(struct kind){ 0, 0, 0 });
}

TEST(queues_without_a_ring)
{
	run_threads(&(struct kind){ QCOW2_QUEUE_NO_RING, 0, 3 });
}
