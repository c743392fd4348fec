/*
 * A program with one thread: a queue without workers in a poll() loop, beside
 * a timer.  It fills the disk, which destroys what it held, and reads it back.
 *
 *	cc poll-loop.c $(pkg-config --cflags --libs libqcow2) -o poll-loop
 *	./poll-loop disk.qcow2
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <qcow2.h>

enum { DEPTH = 16, BLOCK_BYTES = 16 << 10, TICK_MS = 10 };

struct slot {
	struct qcow2_request request;
	struct iovec iov;
	struct qcow2_error err;
	_Alignas(4096) unsigned char bytes[BLOCK_BYTES];
};

struct loop {
	struct qcow2_image *img;
	struct qcow2_queue *queue;
	int timer_fd;
	struct slot slots[DEPTH];
	struct slot *idle[DEPTH];
	unsigned n_idle;
	uint32_t op; /* first QCOW2_OP_WRITE, then QCOW2_OP_READ */
	uint64_t next_off;
	uint64_t end;
	uint64_t n_again; /* requests that had to be made twice */
	uint64_t n_ticks;
};

static unsigned char byte_at(uint64_t off)
{
	return (unsigned char)(1 + off / BLOCK_BYTES % 251);
}

static int say(struct qcow2_error *err, int rc, const char *what)
{
	snprintf(err->message, sizeof(err->message), "%s: %s", what,
		 strerror(-rc));
	return rc;
}

/* ---- Requests ------------------------------------------------------------ */

/* One request at a time takes a system call each; submitting several together
 * is cheaper (see vm-disk.c). */
static int slot_submit(struct loop *l, struct slot *s, uint32_t flags,
		       struct qcow2_error *err)
{
	uint32_t n_taken;

	s->request.flags = flags;
	/* The queue has a place for each slot, so it takes the request. */
	return qcow2_queue_submit(l->queue, &s->request, 1, &n_taken, err);
}

/* With NOWAIT nothing blocks the loop: a request that would have to wait
 * completes with -EAGAIN instead. */
static int begin_next(struct loop *l, struct qcow2_error *err)
{
	struct slot *s = l->idle[--l->n_idle];
	struct qcow2_request r = QCOW2_REQUEST_INIT;

	r.op = l->op;
	r.iov = &s->iov;
	r.iovcnt = 1;
	r.off = l->next_off;
	r.err = &s->err;
	r.user_data = (uint64_t)(s - l->slots);
	s->iov = (struct iovec){ s->bytes, BLOCK_BYTES };
	s->request = r;
	if (r.op == QCOW2_OP_WRITE)
		memset(s->bytes, byte_at(r.off), BLOCK_BYTES);
	l->next_off += BLOCK_BYTES;
	return slot_submit(l, s, QCOW2_NOWAIT, err);
}

static int check_bytes(const struct slot *s, struct qcow2_error *err)
{
	for (size_t i = 0; i < BLOCK_BYTES; i++)
		if (s->bytes[i] != byte_at(s->request.off))
			return say(err, -EIO, "the disk lost a block");
	return 0;
}

/*
 * A request that was not done needs metadata from the disk, or new clusters.
 * Without the flag it is done inside this call, and the loop stands still for
 * as long as a disk takes.  A program that cannot have that gives the queue
 * workers, and leaves NOWAIT out from the start.
 */
static int slot_complete(struct loop *l, struct slot *s, int rc,
			 struct qcow2_error *err)
{
	if (rc == -EAGAIN && s->request.flags & QCOW2_NOWAIT) {
		l->n_again++;
		return slot_submit(l, s, 0, err);
	}
	l->idle[l->n_idle++] = s;
	if (rc < 0)
		*err = s->err;
	else if (s->request.op == QCOW2_OP_READ)
		rc = check_bytes(s, err);
	return rc;
}

/* ---- The loop ------------------------------------------------------------ */

/* The number in the eventfd goes before the completions are taken: one that
 * comes later makes the descriptor readable again. */
static int on_queue(struct loop *l, struct qcow2_error *err)
{
	struct qcow2_completion done[DEPTH] = { QCOW2_COMPLETION_INIT };
	uint64_t number;
	uint32_t n;
	int rc;

	if (read(qcow2_queue_fd(l->queue), &number, sizeof(number)) < 0 &&
	    errno != EAGAIN)
		return say(err, -errno, "eventfd");
	do {
		rc = qcow2_queue_reap(l->queue, done, DEPTH, 0, &n, err);
		for (uint32_t i = 0; rc == 0 && i < n; i++)
			rc = slot_complete(l, &l->slots[done[i].user_data],
					   done[i].rc, err);
	} while (rc == 0 && n);
	return rc;
}

static int on_timer(struct loop *l, struct qcow2_error *err)
{
	uint64_t n;

	if (read(l->timer_fd, &n, sizeof(n)) < 0)
		return errno == EAGAIN ? 0 : say(err, -errno, "timerfd");
	l->n_ticks += n;
	return 0;
}

static int wait_once(struct loop *l, struct qcow2_error *err)
{
	struct pollfd fds[] = {
		{ .fd = qcow2_queue_fd(l->queue), .events = POLLIN },
		{ .fd = l->timer_fd, .events = POLLIN },
	};
	int rc = 0;

	if (poll(fds, 2, -1) < 0)
		return errno == EINTR ? 0 : say(err, -errno, "poll");
	if (fds[0].revents)
		rc = on_queue(l, err);
	if (rc == 0 && fds[1].revents)
		rc = on_timer(l, err);
	return rc;
}

static int run_over_disk(struct loop *l, uint32_t op, struct qcow2_error *err)
{
	int rc = 0;

	l->op = op;
	l->next_off = 0;
	while (rc == 0 && (l->next_off < l->end || l->n_idle < DEPTH)) {
		while (rc == 0 && l->n_idle && l->next_off < l->end)
			rc = begin_next(l, err);
		if (rc == 0)
			rc = wait_once(l, err);
	}
	return rc;
}

/* ---- Begin and end ------------------------------------------------------- */

static int loop_run(struct loop *l, struct qcow2_error *err)
{
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;
	int rc = run_over_disk(l, QCOW2_OP_WRITE, err);

	if (rc == 0)
		rc = run_over_disk(l, QCOW2_OP_READ, err);
	if (rc == 0)
		rc = qcow2_queue_get_info(l->queue, &info, err);
	if (rc == 0)
		printf("at once %" PRIu64 ", io_uring %" PRIu64
		       ", blocking %" PRIu64 "; %" PRIu64
		       " requests were made twice\n",
		       info.n_inline, info.n_ring, info.n_blocking,
		       l->n_again);
	return rc;
}

static int queue_open(struct loop *l, struct qcow2_error *err)
{
	struct qcow2_queue_opts opts = QCOW2_QUEUE_OPTS_INIT;

	opts.depth = DEPTH;
	opts.n_workers = 0; /* the default: no thread but this one */
	for (unsigned i = 0; i < DEPTH; i++)
		l->idle[l->n_idle++] = &l->slots[i];
	l->end = qcow2_size(l->img) / BLOCK_BYTES * BLOCK_BYTES;
	return qcow2_queue_new(l->img, &opts, &l->queue, err);
}

static int timer_open(struct loop *l, struct qcow2_error *err)
{
	const struct timespec tick = { 0, TICK_MS * 1000000L };
	const struct itimerspec every = { tick, tick };

	l->timer_fd = timerfd_create(CLOCK_MONOTONIC,
				     TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->timer_fd < 0 || timerfd_settime(l->timer_fd, 0, &every, NULL))
		return say(err, -errno, "timerfd");
	return 0;
}

static int loop_open(struct loop *l, const char *path, struct qcow2_error *err)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	int rc;

	gate.mode = QCOW2_EXTERNAL_DIR; /* backing files beside the image */
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR;
	rc = qcow2_open_path(path, &opts, &l->img, err);
	if (rc == 0)
		rc = queue_open(l, err);
	if (rc == 0)
		rc = timer_open(l, err);
	return rc;
}

/* The queue goes before the image; closing flushes. */
static int loop_close(struct loop *l, struct qcow2_error *err)
{
	qcow2_queue_free(l->queue);
	if (l->timer_fd >= 0)
		close(l->timer_fd);
	return qcow2_close(l->img, err);
}

int main(int argc, char **argv)
{
	static struct loop loop = { .timer_fd = -1 };
	struct qcow2_error err = { .message = "usage: poll-loop IMAGE" };
	int rc = -EINVAL, close_rc;

	if (argc == 2)
		rc = loop_open(&loop, argv[1], &err);
	if (rc == 0)
		rc = loop_run(&loop, &err);
	if (rc < 0)
		fprintf(stderr, "%s\n", err.message);
	close_rc = loop_close(&loop, &err);
	if (close_rc < 0)
		fprintf(stderr, "%s\n", err.message);
	return rc < 0 || close_rc < 0;
}
