#include "stores/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "api/queue.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/iov.h"
#include "store/store.h"
#include "store/transfer.h"

/* No call uses it. */
enum { A_DESCRIPTOR = 1 << 20 };

static struct test_ring *ring_of(struct ring *r)
{
	return (struct test_ring *)r;
}

static uint64_t ring_random(struct test_ring *r, uint64_t below)
{
	r->random =
		r->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (r->random >> 33) % below;
}

static bool happens(struct test_ring *r, unsigned chance)
{
	return ring_random(r, 16) < chance;
}

static void tell(struct test_ring *r)
{
	uint64_t one = 1;

	if (write(r->event_fd, &one, sizeof(one)) < 0)
		abort();
}

/* ---- Moving bytes -------------------------------------------------------- */

static int move_bytes(struct test_ring *r, const struct ring_transfer *t,
		      uint64_t len)
{
	struct iov_cursor c = iov_cursor_init(t->iov, t->iovcnt);
	uint64_t off = t->off;
	int rc = 0;

	for (uint64_t left = len; rc == 0 && left;) {
		struct iovec iov[IOV_COUNT];
		int n;
		uint64_t part = iov_take(&c, left, iov, IOV_COUNT, &n);

		rc = t->is_write ? store_pwritev(r->store, iov, n, off, 0, NULL)
				 : store_preadv(r->store, iov, n, off, 0, NULL);
		left -= part;
		off += part;
	}
	return rc;
}

static int failure(struct test_ring *r)
{
	static const int none[] = { -EAGAIN, -EINTR, -ECANCELED };

	if (happens(r, r->no_answer))
		return none[ring_random(r, 3)];
	if (happens(r, r->fails))
		return ring_random(r, 2) ? -EIO : -ENOSPC;
	return 0;
}

static void carry_out(struct test_ring *r, struct test_transfer *x)
{
	uint64_t len = iov_len(x->t.iov, x->t.iovcnt);
	int rc = failure(r);

	if (happens(r, r->is_short))
		len = ring_random(r, len);
	if (rc == 0)
		rc = move_bytes(r, &x->t, len);
	x->res = rc < 0 ? rc : (int)len;
	x->is_done = true;
}

/* ---- The operations ------------------------------------------------------ */

static bool test_ring_add(struct ring *ring, const struct ring_transfer *t)
{
	struct test_ring *r = ring_of(ring);
	SCOPED_LOCK(&r->lock);

	if (r->n == r->depth)
		return false;
	r->transfers[r->n++] = (struct test_transfer){ .t = *t };
	return true;
}

static int test_ring_submit(struct ring *ring)
{
	struct test_ring *r = ring_of(ring);
	SCOPED_LOCK(&r->lock);
	bool any = false;

	r->n_submits++;
	if (r->n && r->n_failing_submits) {
		r->n_failing_submits--;
		return -EAGAIN;
	}
	for (uint32_t i = 0; i < r->n; i++) {
		struct test_transfer *x = &r->transfers[i];

		any |= !x->submitted;
		if (!x->submitted && !r->held && happens(r, r->early))
			carry_out(r, x);
		x->submitted = true;
	}
	if (any && !r->held)
		tell(r);
	return 0;
}

/* One of those that can be handed back, at random; NULL if there is none. */
static struct test_transfer *pick(struct test_ring *r)
{
	uint32_t start = r->n ? (uint32_t)ring_random(r, r->n) : 0;

	for (uint32_t i = 0; i < r->n; i++) {
		struct test_transfer *x = &r->transfers[(start + i) % r->n];

		if (x->submitted && (x->is_done || !r->held))
			return x;
	}
	return NULL;
}

static uint32_t test_ring_reap(struct ring *ring, struct ring_done *out,
			       uint32_t max)
{
	struct test_ring *r = ring_of(ring);
	SCOPED_LOCK(&r->lock);
	struct test_transfer *x;
	uint32_t n = 0;

	while (n < max && (x = pick(r)) && !happens(r, r->late)) {
		if (!x->is_done)
			carry_out(r, x);
		out[n++] = (struct ring_done){ x->t.owner, x->res };
		*x = r->transfers[--r->n];
	}
	if (pick(r))
		tell(r);
	return n;
}

/* As the kernel's, it does not see what others write to the eventfd. */
static int test_ring_wait(struct ring *ring, int timeout_ms)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct test_ring *r = ring_of(ring);

	if (test_ring_submit(ring) < 0)
		return 0;
	for (int i = 0; timeout_ms < 0 || i < timeout_ms; i++) {
		mutex_lock(&r->lock);
		bool any = pick(r);
		mutex_unlock(&r->lock);

		if (any)
			return 0;
		if (nanosleep(&moment, NULL) < 0)
			return -errno;
	}
	return 0;
}

static int test_ring_register(struct ring *ring, const struct iovec *iov,
			      int iovcnt, struct qcow2_error *err)
{
	(void)ring, (void)iov, (void)iovcnt, (void)err;
	return 0;
}

static void test_ring_free(struct ring *ring)
{
	struct test_ring *r = ring_of(ring);

	if (r->n)
		abort();
	store_unref(r->store);
	pthread_mutex_destroy(&r->lock);
	free(r->transfers);
	free(r);
}

static const struct ring_ops test_ring_ops = {
	.add = test_ring_add,
	.submit = test_ring_submit,
	.reap = test_ring_reap,
	.wait = test_ring_wait,
	.register_memory = test_ring_register,
	.free = test_ring_free,
};

/* ---- The store's side ---------------------------------------------------- */

static int carry_begin(void *self, const struct iovec *iov, int iovcnt,
		       const struct transfer *t)
{
	(void)self, (void)iov, (void)iovcnt, (void)t;
	return A_DESCRIPTOR;
}

static void carry_end_write(void *self)
{
	(void)self;
}

static const struct transfer_ops test_transfer_ops = {
	.begin = carry_begin,
	.end_write = carry_end_write,
};

/* ---- For tests ----------------------------------------------------------- */

struct test_ring *test_ring_new(struct qcow2_store *store, uint32_t depth)
{
	struct test_ring *r = calloc(1, sizeof(*r));

	if (!r || !(r->transfers = calloc(depth, sizeof(*r->transfers))))
		abort();
	r->base.ops = &test_ring_ops;
	r->store = store_ref(store);
	r->depth = depth;
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&r->lock, NULL);
	store_set_transfer_ops(store, &test_transfer_ops);
	return r;
}

static void count_nothing(void *opaque, const struct qcow2_request *asked,
			  uint64_t len, int rc, uint64_t began_ns)
{
	(void)opaque, (void)asked, (void)len, (void)rc, (void)began_ns;
}

struct qcow2_queue *test_ring_queue(struct qcow2_image *img,
				    struct test_ring *ring,
				    struct qcow2_pool *pool)
{
	struct queue_opts opts = { .depth = ring->depth,
				   .pool = pool,
				   .ring = &ring->base,
				   .event_fd = ring->event_fd,
				   .count = count_nothing };
	struct qcow2_queue *q = calloc(1, sizeof(*q));

	if (!q)
		abort();
	q->img = img;
	q->event_fd = ring->event_fd;
	if (queue_new(img->disk, &opts, &q->queue, NULL) < 0) {
		free(q);
		return NULL;
	}
	return q;
}

void test_ring_release(struct test_ring *r)
{
	SCOPED_LOCK(&r->lock);

	r->held = false;
	tell(r);
}

uint32_t test_ring_under_way(struct test_ring *r)
{
	SCOPED_LOCK(&r->lock);

	return r->n;
}

void test_ring_end(struct test_ring *r, uint32_t i, int res)
{
	SCOPED_LOCK(&r->lock);

	if (i >= r->n)
		abort();
	r->transfers[i].is_done = true;
	r->transfers[i].submitted = true;
	r->transfers[i].res = res;
	tell(r);
}
