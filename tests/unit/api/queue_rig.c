#include "queue_rig.h"

/* A call that hangs ends the test. */
enum { HANGS_AFTER_SEC = 60 };

int queue_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	uint8_t *bytes = malloc(FILLED);

	alarm(HANGS_AFTER_SEC);
	create.virtual_size = DISK;
	snprintf(f->path, sizeof(f->path), "./api-queue-%d.qcow2",
		 (int)getpid());
	ok(qcow2_create_path(f->path, &create, NULL));
	open.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_path(f->path, &open, &f->img, NULL));
	memset(bytes, 0x55, FILLED);
	ok(qcow2_pwrite(f->img, bytes, FILLED, 0, 0, NULL));
	ok(qcow2_flush(f->img, NULL));
	free(bytes);
	ok(qcow2_queue_new(f->img, NULL, &f->q, NULL));
	f->iov = (struct iovec){ f->buf, 4096 };
	*state = f;
	return 0;
}

int queue_teardown(void **state)
{
	struct fixture *f = *state;

	qcow2_queue_free(f->q);
	ok(qcow2_close(f->img, NULL));
	unlink(f->path);
	free(f);
	return 0;
}

struct qcow2_queue_info info_of(struct qcow2_queue *q)
{
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;

	ok(qcow2_queue_get_info(q, &info, NULL));
	return info;
}

struct qcow2_request request(struct fixture *f, uint32_t op)
{
	struct qcow2_request r = QCOW2_REQUEST_INIT;

	r.op = op;
	r.err = &f->err;
	if (op == QCOW2_OP_READ || op == QCOW2_OP_WRITE) {
		r.iov = &f->iov;
		r.iovcnt = 1;
	}
	return r;
}

void submit(struct qcow2_queue *q, const struct qcow2_request *r)
{
	uint32_t taken = 0;

	ok(qcow2_queue_submit(q, r, 1, &taken, NULL));
	assert_int_equal(taken, 1);
}

/* Submits one and waits for its result. */
int done(struct qcow2_queue *q, struct qcow2_request *r)
{
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	uint32_t n;

	r->user_data = UINT64_MAX - r->op;
	submit(q, r);
	ok(qcow2_queue_reap(q, &c, 1, -1, &n, NULL));
	assert_int_equal(n, 1);
	assert_true(c.user_data == r->user_data && c.op == r->op);
	assert_true(c.reserved[0] == 0 && c.reserved[1] == 0);
	return c.rc;
}

bool is_readable(struct qcow2_queue *q, int timeout_ms)
{
	struct pollfd p = { .fd = qcow2_queue_fd(q), .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}
