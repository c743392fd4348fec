/*
 * The kernel's ring, by liburing, where the library is built with it.
 */
#include "queue/ring.h"

#include <errno.h>

#include "base/error.h"

#ifdef HAVE_LIBURING

#include <assert.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

struct uring {
	struct ring base;
	struct io_uring kernel;
	struct iovec *memory; /* that was registered */
	int n_memory;
	bool has_poller; /* SQPOLL: a thread of the kernel takes the entries */
};

bool uring_is_there(void)
{
	return true;
}

static struct uring *uring_of(struct ring *r)
{
	return (struct uring *)r;
}

/* Which registered region has all of the segment; -1 if none. */
static int region_of(const struct uring *u, const struct iovec *seg)
{
	uintptr_t at = (uintptr_t)seg->iov_base;

	for (int i = 0; i < u->n_memory; i++) {
		uintptr_t base = (uintptr_t)u->memory[i].iov_base;

		if (at >= base && at - base <= u->memory[i].iov_len &&
		    seg->iov_len <= u->memory[i].iov_len - (at - base))
			return i;
	}
	return -1;
}

static void prepare_one(const struct uring *u, struct io_uring_sqe *sqe,
			const struct ring_transfer *t)
{
	void *base = t->iov->iov_base;
	unsigned len = (unsigned)t->iov->iov_len;
	int region = region_of(u, t->iov);

	if (region >= 0 && t->is_write)
		io_uring_prep_write_fixed(sqe, t->fd, base, len, t->off,
					  region);
	else if (region >= 0)
		io_uring_prep_read_fixed(sqe, t->fd, base, len, t->off, region);
	else if (t->is_write)
		io_uring_prep_write(sqe, t->fd, base, len, t->off);
	else
		io_uring_prep_read(sqe, t->fd, base, len, t->off);
}

static void prepare_many(struct io_uring_sqe *sqe,
			 const struct ring_transfer *t)
{
	unsigned n = (unsigned)t->iovcnt;

	if (t->is_write)
		io_uring_prep_writev(sqe, t->fd, t->iov, n, t->off);
	else
		io_uring_prep_readv(sqe, t->fd, t->iov, n, t->off);
}

static bool uring_add(struct ring *r, const struct ring_transfer *t)
{
	struct uring *u = uring_of(r);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->kernel);

	if (!sqe)
		return false;
	if (t->iovcnt == 1 && t->iov->iov_len <= INT32_MAX)
		prepare_one(u, sqe, t);
	else
		prepare_many(sqe, t);
	io_uring_sqe_set_data(sqe, t->owner);
	return true;
}

static int uring_submit(struct ring *r)
{
	struct uring *u = uring_of(r);
	int rc;

	/* The kernel stops behind a transfer that it refuses. */
	do {
		rc = io_uring_submit(&u->kernel);
	} while (rc == -EINTR ||
		 (rc > 0 && !u->has_poller && io_uring_sq_ready(&u->kernel)));
	return rc < 0 ? rc : 0;
}

static uint32_t uring_reap(struct ring *r, struct ring_done *out, uint32_t max)
{
	struct uring *u = uring_of(r);
	struct io_uring_cqe *cqe;
	uint32_t n = 0;

	while (n < max && io_uring_peek_cqe(&u->kernel, &cqe) == 0) {
		out[n++] = (struct ring_done){ io_uring_cqe_get_data(cqe),
					       cqe->res };
		io_uring_cqe_seen(&u->kernel, cqe);
	}
	return n;
}

static int uring_wait(struct ring *r, int timeout_ms)
{
	struct uring *u = uring_of(r);
	struct __kernel_timespec ts = { .tv_sec = timeout_ms / 1000,
					.tv_nsec =
						timeout_ms % 1000 * 1000000LL };
	struct io_uring_cqe *cqe;
	int rc;

	if (timeout_ms < 0)
		rc = io_uring_submit_and_wait(&u->kernel, 1);
	else
		rc = io_uring_submit_and_wait_timeout(&u->kernel, &cqe, 1, &ts,
						      NULL);
	return rc == -EINTR ? rc : 0;
}

static int uring_register(struct ring *r, const struct iovec *iov, int iovcnt,
			  struct qcow2_error *err)
{
	struct uring *u = uring_of(r);
	struct iovec *memory = calloc((size_t)iovcnt, sizeof(*memory));
	int rc;

	if (!memory)
		return error_nomem(err, "a list of buffers",
				   (uint64_t)iovcnt * sizeof(*memory));
	memcpy(memory, iov, (size_t)iovcnt * sizeof(*memory));
	if (u->n_memory)
		io_uring_unregister_buffers(&u->kernel);
	free(u->memory);
	u->memory = NULL;
	u->n_memory = 0;
	rc = io_uring_register_buffers(&u->kernel, memory, (unsigned)iovcnt);
	if (rc < 0) {
		free(memory);
		return error_set(err, rc,
				 "the host does not register the buffers: %s",
				 error_words(-rc));
	}
	u->memory = memory;
	u->n_memory = iovcnt;
	return 0;
}

static void uring_free(struct ring *r)
{
	struct uring *u = uring_of(r);

	io_uring_queue_exit(&u->kernel);
	free(u->memory);
	free(u);
}

static const struct ring_ops uring_ops = {
	.add = uring_add,
	.submit = uring_submit,
	.reap = uring_reap,
	.wait = uring_wait,
	.register_memory = uring_register,
	.free = uring_free,
};

static int uring_open(struct uring *u, const struct ring_opts *opts)
{
	struct io_uring_params p = { 0 };
	int rc;

	u->has_poller = opts->sqpoll;
	if (opts->sqpoll) {
		p.flags |= IORING_SETUP_SQPOLL;
		p.sq_thread_idle = opts->sqpoll_idle_ms;
	}
	rc = io_uring_queue_init_params(opts->depth, &u->kernel, &p);
	if (rc < 0)
		return rc;
	io_uring_ring_dontfork(&u->kernel);
	/* Without this the kernel drops completions that find no room. */
	rc = p.features & IORING_FEAT_NODROP
		     ? io_uring_register_eventfd(&u->kernel, opts->event_fd)
		     : -ENOSYS;
	if (rc < 0)
		io_uring_queue_exit(&u->kernel);
	return rc;
}

int uring_new(const struct ring_opts *opts, struct ring **out,
	      struct qcow2_error *err)
{
	struct uring *u = calloc(1, sizeof(*u));
	int rc;

	assert(opts->depth > 0);
	if (!u)
		return error_nomem(err, "a ring", sizeof(*u));
	u->base.ops = &uring_ops;
	rc = uring_open(u, opts);
	if (rc < 0) {
		free(u);
		return error_set(err, rc == -ENOMEM ? rc : -ENOTSUP,
				 "the host gives no io_uring: %s",
				 error_words(-rc));
	}
	*out = &u->base;
	return 0;
}

#else

bool uring_is_there(void)
{
	return false;
}

int uring_new(const struct ring_opts *opts, struct ring **out,
	      struct qcow2_error *err)
{
	(void)opts, (void)out;
	return error_set(err, -ENOTSUP,
			 "the library was built without io_uring");
}

#endif
