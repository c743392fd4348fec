/*
 * Queues and pools as the header promises them: made, registered, freed.
 */
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "queue_rig.h"

/* ---- Arguments ----------------------------------------------------------- */

QUEUE_TEST(nothing_is_made_of_wrong_options)
{
	struct fixture *f = *state;
	struct qcow2_queue_opts good = QCOW2_QUEUE_OPTS_INIT;
	struct qcow2_queue_opts o;
	struct qcow2_queue *q = NULL;

	fails(qcow2_queue_new(NULL, &good, &q, NULL), EINVAL);
	fails(qcow2_queue_new(f->img, &good, NULL, NULL), EINVAL);
#define REFUSED(field, value)                                         \
	do {                                                          \
		o = good;                                             \
		o.field = (value);                                    \
		fails(qcow2_queue_new(f->img, &o, &q, NULL), EINVAL); \
	} while (0)
	REFUSED(struct_size, 0);
	REFUSED(struct_size, 7);
	REFUSED(flags, 0x8);
	REFUSED(flags, QCOW2_QUEUE_NO_RING | QCOW2_QUEUE_NEED_RING);
	REFUSED(flags, QCOW2_QUEUE_NO_RING | QCOW2_QUEUE_SQPOLL);
	REFUSED(depth, 4097);
	REFUSED(n_workers, 257);
	REFUSED(reserved[0], 1);
	REFUSED(reserved[3], 1);
#undef REFUSED
	assert_null(q);
}

QUEUE_TEST(options_of_any_age)
{
	struct fixture *f = *state;
	struct {
		struct qcow2_queue_opts o;
		uint64_t more;
	} newer = { .o = QCOW2_QUEUE_OPTS_INIT };
	struct qcow2_queue_opts older = QCOW2_QUEUE_OPTS_INIT;
	struct qcow2_queue *q;

	newer.o.struct_size = sizeof(newer);
	newer.o.depth = 4096;
	ok(qcow2_queue_new(f->img, &newer.o, &q, NULL));
	assert_int_equal(info_of(q).depth, 4096);
	qcow2_queue_free(q);
	newer.more = 1;
	fails(qcow2_queue_new(f->img, &newer.o, &q, NULL), EINVAL);
	older.struct_size = offsetof(struct qcow2_queue_opts, depth);
	older.depth = 5000;
	ok(qcow2_queue_new(f->img, &older, &q, NULL));
	assert_int_equal(info_of(q).depth, 128);
	qcow2_queue_free(q);
}

QUEUE_TEST(pools)
{
	struct fixture *f = *state;
	struct qcow2_pool_opts po = QCOW2_POOL_OPTS_INIT;
	struct qcow2_queue_opts o = QCOW2_QUEUE_OPTS_INIT;
	struct qcow2_pool *pool;
	struct qcow2_queue *q[2];

	fails(qcow2_pool_new(NULL, NULL, NULL), EINVAL);
	po.n_threads = 257;
	fails(qcow2_pool_new(&po, &pool, NULL), EINVAL);
	po.n_threads = 3;
	po.flags = 1;
	fails(qcow2_pool_new(&po, &pool, NULL), EINVAL);
	po.flags = 0;
	po.reserved[1] = 1;
	fails(qcow2_pool_new(&po, &pool, NULL), EINVAL);
	po.reserved[1] = 0;
	ok(qcow2_pool_new(&po, &pool, NULL));
	o.pool = pool;
	o.n_workers = 1;
	fails(qcow2_queue_new(f->img, &o, &q[0], NULL), EINVAL);
	o.n_workers = 0;
	for (int i = 0; i < 2; i++)
		ok(qcow2_queue_new(f->img, &o, &q[i], NULL));
	for (int i = 0; i < 2; i++) {
		struct qcow2_request r = request(f, QCOW2_OP_FLUSH);

		assert_int_equal(info_of(q[i]).n_workers, 3);
		ok(done(q[i], &r));
		assert_int_equal(info_of(q[i]).n_worker, 1);
	}
	qcow2_queue_free(q[0]);
	qcow2_queue_free(q[1]);
	qcow2_pool_free(pool);
	ok(qcow2_pool_new(NULL, &pool, NULL));
	qcow2_pool_free(pool);
	qcow2_pool_free(NULL);
	qcow2_queue_free(NULL);
}

/* ---- Register ------------------------------------------------------------ */

QUEUE_TEST(memory_that_cannot_be_registered)
{
	struct fixture *f = *state;
	struct iovec iov[1025];

	for (int i = 0; i < 1025; i++)
		iov[i] = f->iov;
	fails(qcow2_queue_register(NULL, iov, 1, NULL), EINVAL);
	fails(qcow2_queue_register(f->q, NULL, 1, NULL), EINVAL);
	fails(qcow2_queue_register(f->q, iov, 0, NULL), EINVAL);
	fails(qcow2_queue_register(f->q, iov, -1, NULL), EINVAL);
	fails(qcow2_queue_register(f->q, iov, 1025, NULL), EINVAL);
	iov[0].iov_len = ((size_t)1 << 30) + 1;
	fails(qcow2_queue_register(f->q, iov, 1, NULL), EINVAL);
	iov[0].iov_len = 0;
	fails(qcow2_queue_register(f->q, iov, 1, NULL), EINVAL);
}

/* Pages that replaced the registered ones do not get the bytes. */
QUEUE_TEST(registered_memory_is_used)
{
	struct fixture *f = *state;
	uint8_t *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec all = { p, 65536 };
	struct qcow2_request r = request(f, QCOW2_OP_READ);
	struct qcow2_queue_info before;

	ok(qcow2_queue_register(f->q, &all, 1, NULL));
	ok(qcow2_queue_register(f->q, &all, 1, NULL)); /* in its place */
	f->iov = (struct iovec){ p + 4096, 4096 };
	before = info_of(f->q);
	ok(done(f->q, &r));
	assert_int_equal(p[4096], 0x55);
	if (info_of(f->q).n_ring > before.n_ring) {
		assert_ptr_equal(mmap(p, 65536, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				      -1, 0),
				 p);
		ok(done(f->q, &r));
		assert_int_equal(p[4096], 0);
	}
	munmap(p, 65536);
}

/* ---- Ends ---------------------------------------------------------------- */

/* The buffers are the caller's again, and may go. */
static void free_under_way(struct fixture *f, uint32_t flags,
			   uint32_t n_workers)
{
	for (int round = 0; round < 30; round++) {
		struct qcow2_queue_opts o = QCOW2_QUEUE_OPTS_INIT;
		struct qcow2_request r = request(f, QCOW2_OP_READ);
		uint8_t *bytes = malloc(32 * 4096);
		struct iovec iov[32];
		struct qcow2_queue *q;

		assert_non_null(bytes);
		o.flags = flags;
		o.n_workers = n_workers;
		ok(qcow2_queue_new(f->img, &o, &q, NULL));
		for (unsigned i = 0; i < 32; i++) {
			memset(bytes + i * 4096, 0x55, 4096);
			iov[i] = (struct iovec){ bytes + i * 4096, 4096 };
			r.op = i % 2 ? QCOW2_OP_READ : QCOW2_OP_WRITE;
			r.flags = i % 4 ? 0 : QCOW2_FUA;
			r.flags = r.op == QCOW2_OP_READ ? 0 : r.flags;
			r.iov = &iov[i];
			r.off = i * 2048;
			r.err = NULL;
			submit(q, &r);
		}
		qcow2_queue_free(q);
		free(bytes);
	}
}

QUEUE_TEST(freed_with_requests_under_way)
{
	free_under_way(*state, 0, 0);
	free_under_way(*state, 0, 2);
	free_under_way(*state, QCOW2_QUEUE_NO_RING, 2);
}

static void in_child(struct fixture *f, struct qcow2_pool *pool)
{
	struct qcow2_request r = request(f, QCOW2_OP_FLUSH);
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;
	struct qcow2_queue_opts o = QCOW2_QUEUE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;
	struct qcow2_queue *q;
	uint32_t n;

	if (qcow2_queue_submit(f->q, &r, 1, &n, NULL) != -ECHILD ||
	    qcow2_queue_reap(f->q, &c, 1, -1, &n, NULL) != -ECHILD ||
	    qcow2_queue_drain(f->q, NULL) != -ECHILD ||
	    qcow2_queue_fd(f->q) != -ECHILD ||
	    qcow2_queue_register(f->q, &f->iov, 1, NULL) != -ECHILD ||
	    qcow2_queue_get_info(f->q, &info, NULL) != -ECHILD ||
	    qcow2_queue_new(f->img, NULL, &q, NULL) != -ECHILD)
		_exit(1);
	open.flags = QCOW2_OPEN_NO_LOCK;
	o.pool = pool;
	if (qcow2_open_path(f->path, &open, &img, NULL) < 0 ||
	    qcow2_queue_new(img, &o, &q, NULL) != -ECHILD)
		_exit(2);
	qcow2_queue_free(f->q);
	qcow2_pool_free(pool);
	_exit(0);
}

QUEUE_TEST(a_child_has_no_queues)
{
	struct fixture *f = *state;
	struct qcow2_request r = request(f, QCOW2_OP_FLUSH);
	struct qcow2_pool *pool;
	int status;
	pid_t pid;

	ok(qcow2_pool_new(NULL, &pool, NULL));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		in_child(f, pool);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	ok(done(f->q, &r));
	qcow2_pool_free(pool);
}
