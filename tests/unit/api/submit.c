/*
 * Requests and completions as the header promises them.
 */
#include "queue_rig.h"

/* ---- Arguments ----------------------------------------------------------- */

QUEUE_TEST(calls_with_nothing)
{
	struct fixture *f = *state;
	struct qcow2_request r = request(f, QCOW2_OP_FLUSH);
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	struct qcow2_completion unset = { 0 };
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;
	uint32_t n;

	fails(qcow2_queue_fd(NULL), EINVAL);
	fails(qcow2_queue_drain(NULL, NULL), EINVAL);
	fails(qcow2_queue_submit(NULL, &r, 1, &n, NULL), EINVAL);
	fails(qcow2_queue_submit(f->q, NULL, 1, &n, NULL), EINVAL);
	fails(qcow2_queue_submit(f->q, &r, 1, NULL, NULL), EINVAL);
	ok(qcow2_queue_submit(f->q, NULL, 0, &n, NULL));
	assert_int_equal(n, 0);
	fails(qcow2_queue_reap(NULL, &c, 1, 0, &n, NULL), EINVAL);
	fails(qcow2_queue_reap(f->q, NULL, 1, 0, &n, NULL), EINVAL);
	fails(qcow2_queue_reap(f->q, &c, 0, 0, &n, NULL), EINVAL);
	fails(qcow2_queue_reap(f->q, &c, 1, 0, NULL, NULL), EINVAL);
	fails(qcow2_queue_reap(f->q, &unset, 1, 0, &n, NULL), EINVAL);
	fails(qcow2_queue_get_info(NULL, &info, NULL), EINVAL);
	fails(qcow2_queue_get_info(f->q, NULL, NULL), EINVAL);
	info.struct_size = 0;
	fails(qcow2_queue_get_info(f->q, &info, NULL), EINVAL);
}

QUEUE_TEST(a_struct_size_that_is_none)
{
	struct fixture *f = *state;
	struct qcow2_request r[2] = { request(f, QCOW2_OP_READ),
				      request(f, QCOW2_OP_READ) };
	uint32_t n = 9;

	r[1].struct_size = sizeof(r[1]) - 8;
	fails(qcow2_queue_submit(f->q, r, 2, &n, NULL), EINVAL);
	assert_int_equal(n, 1); /* the first was right, and began */
	r[0].struct_size = 0;
	fails(qcow2_queue_submit(f->q, r, 1, &n, NULL), EINVAL);
	assert_int_equal(n, 0);
	ok(qcow2_queue_drain(f->q, NULL));
	assert_int_equal(info_of(f->q).n_ready, 1);
}

QUEUE_TEST(wrong_requests_complete_with_einval)
{
	struct fixture *f = *state;
	struct qcow2_request r;

#define WRONG(kind, field, value)                       \
	do {                                            \
		r = request(f, kind);                   \
		r.field = (value);                      \
		f->err.message[0] = '\0';               \
		fails(done(f->q, &r), EINVAL);          \
		assert_true(f->err.message[0]);         \
		assert_int_equal(f->err.code, -EINVAL); \
	} while (0)
	WRONG(QCOW2_OP_READ, op, 0);
	WRONG(QCOW2_OP_READ, op, 7);
	WRONG(QCOW2_OP_READ, op, UINT32_MAX);
	WRONG(QCOW2_OP_READ, flags, QCOW2_FUA);
	WRONG(QCOW2_OP_FLUSH, flags, QCOW2_FUA);
	WRONG(QCOW2_OP_WRITE, flags, QCOW2_ZERO_MAY_UNMAP);
	WRONG(QCOW2_OP_DISCARD, flags, QCOW2_ZERO_MAY_UNMAP);
	WRONG(QCOW2_OP_ZERO, flags, 1u << 31);
	WRONG(QCOW2_OP_READ, reserved, 1);
	WRONG(QCOW2_OP_READ, reserved2[1], 1);
	WRONG(QCOW2_OP_READ, iov, NULL);
	WRONG(QCOW2_OP_READ, iovcnt, -1);
	WRONG(QCOW2_OP_WRITE, iovcnt, INT32_MAX);
	WRONG(QCOW2_OP_READ, len, 4095);
	WRONG(QCOW2_OP_READ, off, DISK - 4095);
	WRONG(QCOW2_OP_WRITE, off, UINT64_MAX);
	WRONG(QCOW2_OP_ZERO, len, DISK + 1);
	WRONG(QCOW2_OP_DISCARD, len, UINT64_MAX);
	WRONG(QCOW2_OP_ZERO, iov, &f->iov);
	WRONG(QCOW2_OP_FLUSH, iovcnt, 1);
	WRONG(QCOW2_OP_FLUSH, off, 1);
	WRONG(QCOW2_OP_FLUSH, len, 1);
#undef WRONG
	r = request(f, QCOW2_OP_READ);
	r.len = 4096;
	r.off = DISK - 4096;
	ok(done(f->q, &r));
	r.iovcnt = 0;
	r.len = 0;
	ok(done(f->q, &r));
}

/* ---- Requests and completions -------------------------------------------- */

QUEUE_TEST(each_operation)
{
	struct fixture *f = *state;
	struct qcow2_request r = request(f, QCOW2_OP_WRITE);
	uint8_t *cluster = calloc(1, 65536);
	struct iovec two[] = { { cluster, 1000 }, { cluster + 1000, 64536 } };

	memset(f->buf, 1, 4096);
	ok(done(f->q, &r));
	memset(f->buf, 0, 4096);
	r.op = QCOW2_OP_READ;
	ok(done(f->q, &r));
	assert_int_equal(f->buf[4095], 1);
	r = request(f, QCOW2_OP_ZERO);
	r.len = 512;
	ok(done(f->q, &r));
	r = request(f, QCOW2_OP_DISCARD);
	r.len = 65536;
	r.off = 65536;
	ok(done(f->q, &r));
	r = request(f, QCOW2_OP_WRITE_COMPRESSED);
	memset(cluster, 7, 65536);
	r.iov = two;
	r.iovcnt = 2;
	r.off = 8 << 20;
	ok(done(f->q, &r));
	r = request(f, QCOW2_OP_FLUSH);
	ok(done(f->q, &r));
	memset(cluster, 0, 65536);
	ok(qcow2_pread(f->img, cluster, 65536, 8 << 20, 0, NULL));
	assert_int_equal(cluster[65535], 7);
	ok(qcow2_pread(f->img, cluster, 65536, 65536, 0, NULL));
	assert_int_equal(cluster[0], 0);
	ok(qcow2_pread(f->img, cluster, 1024, 0, 0, NULL));
	assert_true(cluster[511] == 0 && cluster[512] == 1);
	free(cluster);
}

QUEUE_TEST(a_full_queue_takes_no_more)
{
	struct fixture *f = *state;
	struct qcow2_queue_opts o = QCOW2_QUEUE_OPTS_INIT;
	struct qcow2_request r[8];
	struct qcow2_completion c[8] = { QCOW2_COMPLETION_INIT };
	struct qcow2_queue *q;
	uint32_t n;

	for (unsigned i = 0; i < 8; i++) {
		r[i] = request(f, QCOW2_OP_READ);
		r[i].user_data = i;
		r[i].off = 4096 * i;
	}
	o.depth = 5;
	ok(qcow2_queue_new(f->img, &o, &q, NULL));
	ok(qcow2_queue_submit(q, r, 8, &n, NULL));
	assert_int_equal(n, 5);
	ok(qcow2_queue_submit(q, r + 5, 3, &n, NULL));
	assert_int_equal(n, 0);
	ok(qcow2_queue_drain(q, NULL));
	ok(qcow2_queue_submit(q, r + 5, 3, &n, NULL));
	assert_int_equal(n, 0);
	ok(qcow2_queue_reap(q, c, 2, 0, &n, NULL));
	assert_int_equal(n, 2);
	ok(qcow2_queue_submit(q, r + 5, 3, &n, NULL));
	assert_int_equal(n, 2);
	qcow2_queue_free(q);
}

QUEUE_TEST(completions_of_any_age)
{
	struct fixture *f = *state;
	struct newer {
		struct qcow2_completion c;
		uint64_t more;
	} newer[100] = { { .c = QCOW2_COMPLETION_INIT } };
	struct older {
		size_t struct_size;
		uint64_t user_data;
	} older[4] = { { sizeof(struct older), 0 } };
	struct qcow2_request r = request(f, QCOW2_OP_ZERO);
	uint32_t n;

	for (r.user_data = 0; r.user_data < 100; r.user_data++)
		submit(f->q, &r);
	newer[0].c.struct_size = sizeof(newer[0]);
	newer[3].more = 5;
	ok(qcow2_queue_reap(f->q, &newer[0].c, 100, -1, &n, NULL));
	assert_in_range(n, 1, 96);
	assert_int_equal(newer[3].more, 0);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(newer[i].c.user_data, i);
		assert_int_equal(newer[i].c.struct_size, sizeof(newer[0]));
		assert_int_equal(newer[i].c.op, QCOW2_OP_ZERO);
	}
	uint64_t next = n;

	ok(qcow2_queue_reap(f->q, (struct qcow2_completion *)older, 4, -1, &n,
			    NULL));
	assert_int_equal(n, 4);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(older[i].user_data, next + i);
}

/* ---- The eventfd --------------------------------------------------------- */

static void read_fd(struct qcow2_queue *q)
{
	uint64_t count;

	assert_int_equal(read(qcow2_queue_fd(q), &count, sizeof(count)),
			 sizeof(count));
}

static unsigned reap_all(struct qcow2_queue *q)
{
	struct qcow2_completion c[4] = { QCOW2_COMPLETION_INIT };
	unsigned all = 0;
	uint32_t n;

	do {
		ok(qcow2_queue_reap(q, c, 4, 0, &n, NULL));
		for (uint32_t i = 0; i < n; i++)
			ok(c[i].rc);
		all += n;
	} while (n);
	return all;
}

/* A loop as the header describes it, with requests of all ways. */
static void poll_loop(struct fixture *f, uint32_t flags, uint32_t n_workers)
{
	struct qcow2_queue_opts o = QCOW2_QUEUE_OPTS_INIT;
	struct qcow2_queue *q;
	unsigned under_way = 0;

	o.flags = flags;
	o.n_workers = n_workers;
	o.depth = 16;
	ok(qcow2_queue_new(f->img, &o, &q, NULL));
	for (unsigned i = 0; i < 1500 || under_way;) {
		for (; under_way < 1 + i % 16 && i < 1500; i++) {
			struct qcow2_request r =
				request(f, i % 3     ? QCOW2_OP_READ
					   : i % 200 ? QCOW2_OP_ZERO
						     : QCOW2_OP_FLUSH);

			r.off = r.op == QCOW2_OP_FLUSH ? 0 : i % 64 * 8192;
			submit(q, &r);
			under_way++;
		}
		if (!is_readable(q, 10000))
			fail_msg("lost: %u under way, %u ready",
				 info_of(q).n_under_way, info_of(q).n_ready);
		read_fd(q);
		under_way -= reap_all(q);
	}
	qcow2_queue_free(q);
}

QUEUE_TEST(a_loop_that_polls)
{
	struct fixture *f = *state;

	poll_loop(f, 0, 0);
	poll_loop(f, 0, 2);
	poll_loop(f, QCOW2_QUEUE_NO_RING, 0);
	poll_loop(f, QCOW2_QUEUE_NO_RING, 3);
}

/* ---- Waiting ------------------------------------------------------------- */

QUEUE_TEST(nothing_under_way_is_not_waited_for)
{
	struct fixture *f = *state;
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	uint32_t n = 1;

	ok(qcow2_queue_reap(f->q, &c, 1, -1, &n, NULL));
	assert_int_equal(n, 0);
	ok(qcow2_queue_reap(f->q, &c, 1, 50000, &n, NULL));
	assert_int_equal(n, 0);
	ok(qcow2_queue_drain(f->q, NULL));
}

QUEUE_TEST(nowait_says_eagain)
{
	struct fixture *f = *state;
	struct qcow2_request r = request(f, QCOW2_OP_FLUSH);

	r.flags = QCOW2_NOWAIT;
	fails(done(f->q, &r), EAGAIN);
	assert_true(f->err.message[0]);
	r = request(f, QCOW2_OP_WRITE);
	r.flags = QCOW2_NOWAIT | QCOW2_FUA;
	fails(done(f->q, &r), EAGAIN);
	r.flags = QCOW2_FUA;
	ok(done(f->q, &r));
	r = request(f, QCOW2_OP_READ);
	r.flags = QCOW2_NOWAIT;
	r.off = 12 << 20;
	memset(f->buf, 9, 4096);
	ok(done(f->q, &r));
	assert_int_equal(f->buf[4095], 0);
}
