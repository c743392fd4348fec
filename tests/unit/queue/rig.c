#include "rig.h"

#include <poll.h>
#include <unistd.h>

#define ok(expression) assert_int_equal((expression), 0)

/* A call that hangs ends the test. */
enum { HANGS_AFTER_SEC = 60 };

static void open_stores(struct queue_rig *t)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *mem;
	struct qcow2_store *counted;
	struct qcow2_store *faulty;

	create.virtual_size = RIG_DISK;
	ok(qcow2_store_new_memory(&mem, NULL));
	ok(qcow2_create_store(mem, NULL, &create, NULL));
	ok(count_store_new(&t->count, mem, &counted));
	t->fault = (struct fault_injector)FAULT_INIT;
	ok(fault_store_new(&t->fault, counted, &faulty));
	t->sched = sched_new();
	ok(sched_store_new(t->sched, "file", faulty, &t->store));
	qcow2_store_unref(faulty);
	qcow2_store_unref(counted);
	qcow2_store_unref(mem);
}

static void write_some(struct queue_rig *t)
{
	uint8_t *zeros = calloc(1, RIG_WRITTEN);

	assert_non_null(zeros);
	memset(zeros, 0x77, RIG_WRITTEN);
	ok(qcow2_pwrite(t->img, zeros, RIG_WRITTEN, 0, 0, NULL));
	ok(qcow2_flush(t->img, NULL));
	free(zeros);
}

static void make_queue(struct queue_rig *t, bool with_ring)
{
	struct qcow2_queue_opts o = QCOW2_QUEUE_OPTS_INIT;

	if (with_ring) {
		t->ring = test_ring_new(t->store, RIG_DEPTH);
		t->q = test_ring_queue(t->img, t->ring, t->pool);
		assert_non_null(t->q);
		return;
	}
	o.flags = QCOW2_QUEUE_NO_RING;
	o.depth = RIG_DEPTH;
	o.pool = t->pool;
	ok(qcow2_queue_new(t->img, &o, &t->q, NULL));
}

struct queue_rig *rig_new(uint32_t n_threads, bool with_ring)
{
	struct queue_rig *t = calloc(1, sizeof(*t));
	struct qcow2_open_opts o = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_pool_opts po = QCOW2_POOL_OPTS_INIT;

	assert_non_null(t);
	alarm(HANGS_AFTER_SEC);
	open_stores(t);
	o.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_store(t->store, &o, &t->img, NULL));
	write_some(t);
	po.n_threads = n_threads;
	if (n_threads)
		ok(qcow2_pool_new(&po, &t->pool, NULL));
	make_queue(t, with_ring);
	return t;
}

void rig_free(struct queue_rig *t)
{
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;

	qcow2_queue_free(t->q);
	qcow2_pool_free(t->pool);
	ok(qcow2_close(t->img, NULL));
	ok(qcow2_check_store(t->store, NULL, &result, NULL));
	assert_int_equal(result.corruptions, 0);
	assert_int_equal(result.leaks, 0);
	qcow2_store_unref(t->store);
	sched_free(t->sched);
	free(t);
	alarm(0);
}

void rig_submit(struct queue_rig *t, uint32_t op, uint32_t flags, uint64_t len,
		uint64_t off, unsigned i)
{
	struct qcow2_request r = QCOW2_REQUEST_INIT;
	uint32_t taken;

	r.op = op;
	r.flags = flags;
	r.off = off;
	r.user_data = i;
	if (op == QCOW2_OP_ZERO || op == QCOW2_OP_DISCARD) {
		r.len = len;
	} else if (op != QCOW2_OP_FLUSH) {
		memset(t->bufs[i], (int)i + 1, len);
		t->iov[i] = (struct iovec){ t->bufs[i], len };
		r.iov = &t->iov[i];
		r.iovcnt = 1;
	}
	ok(qcow2_queue_submit(t->q, &r, 1, &taken, NULL));
	assert_int_equal(taken, 1);
}

void rig_expect(struct queue_rig *t, unsigned i, int rc)
{
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	uint32_t n;

	ok(qcow2_queue_reap(t->q, &c, 1, -1, &n, NULL));
	assert_int_equal(n, 1);
	assert_int_equal(c.user_data, i);
	assert_int_equal(c.rc, rc);
}

uint32_t rig_reap(struct queue_rig *t)
{
	struct qcow2_completion c[RIG_DEPTH] = { QCOW2_COMPLETION_INIT };
	uint32_t n;

	ok(qcow2_queue_reap(t->q, c, RIG_DEPTH, 0, &n, NULL));
	return n;
}

bool rig_is_readable(struct queue_rig *t)
{
	struct pollfd p = { .fd = qcow2_queue_fd(t->q), .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

void rig_read_fd(struct queue_rig *t)
{
	uint64_t count;

	assert_int_equal(read(qcow2_queue_fd(t->q), &count, sizeof(count)),
			 sizeof(count));
}

void rig_expect_bytes(struct queue_rig *t, uint8_t byte, uint64_t len,
		      uint64_t off)
{
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	ok(qcow2_pread(t->img, buf, len, off, 0, NULL));
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte);
	free(buf);
}

struct qcow2_queue_info rig_info(struct queue_rig *t)
{
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;

	ok(qcow2_queue_get_info(t->q, &info, NULL));
	return info;
}
