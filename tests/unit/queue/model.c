/*
 * Random requests through a queue, against an array of bytes: by io_uring, by
 * workers, and on the caller's thread, over files with and without O_DIRECT.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/amount.h"
#include "support/test.h"

enum {
	DISK_BYTES = 24 << 20,
	REQUEST_BYTES_MAX = 1 << 20,
	DEPTH = 24,
	ALIGN = 4096,
};

/* One request under way, with the place in the disk that nobody else uses. */
struct place {
	bool busy;
	uint32_t op;
	uint64_t off;
	uint64_t len;
	uint8_t *buf; /* REQUEST_BYTES_MAX, aligned */
	struct iovec iov[3];
	int iovcnt;
	struct qcow2_error err;
};

struct world {
	struct qcow2_image *img;
	struct qcow2_queue *q;
	uint8_t *oracle;
	struct place places[DEPTH];
	unsigned n_busy;
	uint64_t align; /* of offsets and lengths */
};

struct kind {
	const char *name;
	uint32_t queue_flags;
	uint32_t n_workers;
	uint32_t open_flags;
	uint64_t align;
	bool extended_l2;
	bool with_base;
};

static struct test_rng rng;

static uint64_t random_below(uint64_t n)
{
	return test_rng_below(&rng, n);
}

static bool overlaps(const struct world *w, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct place *p = &w->places[i];

		if (p->busy && p->op != QCOW2_OP_FLUSH &&
		    off < p->off + p->len && p->off < off + len)
			return true;
	}
	return false;
}

static void fill(uint8_t *buf, uint64_t len)
{
	uint8_t seed = (uint8_t)(1 + random_below(255));

	for (uint64_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(seed + i / 512 + i);
}

static void cut_vector(struct place *p, uint64_t align)
{
	uint64_t parts = p->len / align;
	uint64_t first = parts < 2 ? p->len
				   : (1 + random_below(parts - 1)) * align;

	p->iovcnt = first < p->len ? 2 : 1;
	p->iov[0] = (struct iovec){ p->buf, first };
	p->iov[1] = (struct iovec){ p->buf + first, p->len - first };
}

static uint64_t pick_len(const struct world *w)
{
	static const uint64_t usual[] = {
		4096, 4096, 512, 65536, 12288, 262144, REQUEST_BYTES_MAX
	};
	uint64_t len = usual[random_below(7)];

	if (random_below(3) == 0)
		len = 1 + random_below(200000);
	return (len + w->align - 1) / w->align * w->align;
}

static uint32_t pick_op(void)
{
	static const uint32_t ops[] = {
		QCOW2_OP_READ,  QCOW2_OP_READ, QCOW2_OP_WRITE, QCOW2_OP_WRITE,
		QCOW2_OP_WRITE, QCOW2_OP_ZERO, QCOW2_OP_FLUSH, QCOW2_OP_DISCARD,
	};

	return ops[random_below(8)];
}

static void describe(const struct world *w, unsigned i, struct place *p,
		     struct qcow2_request *r)
{
	*r = (struct qcow2_request)QCOW2_REQUEST_INIT;
	r->op = p->op;
	r->user_data = i;
	r->err = &p->err;
	if (p->op == QCOW2_OP_FLUSH)
		return;
	r->off = p->off;
	if (p->op == QCOW2_OP_ZERO || p->op == QCOW2_OP_DISCARD) {
		r->len = p->len;
		return;
	}
	cut_vector(p, w->align);
	r->iov = p->iov;
	r->iovcnt = p->iovcnt;
	if (p->op == QCOW2_OP_WRITE && random_below(16) == 0)
		r->flags = QCOW2_FUA;
}

/* False when no place was found. */
static bool make_request(struct world *w, unsigned i, struct qcow2_request *r)
{
	struct place *p = &w->places[i];

	p->op = pick_op();
	p->len = pick_len(w);
	p->off = random_below((DISK_BYTES - p->len) / w->align) * w->align;
	/* Clusters, so that it is known what a discard does. */
	if (p->op == QCOW2_OP_DISCARD) {
		p->off = p->off / 65536 * 65536;
		p->len = 65536 * (1 + random_below(4));
		if (p->off + p->len > DISK_BYTES)
			return false;
	}
	if (p->op != QCOW2_OP_FLUSH && overlaps(w, p->off, p->len))
		return false;
	if (p->op == QCOW2_OP_WRITE)
		fill(p->buf, p->len);
	p->busy = true;
	describe(w, i, p, r);
	return true;
}

static void check_done(struct world *w, const struct qcow2_completion *c)
{
	struct place *p = &w->places[c->user_data];

	if (c->rc < 0)
		print_error("op %u: %s\n", c->op, p->err.message);
	assert_int_equal(c->rc, 0);
	assert_true(p->busy);
	assert_int_equal(c->op, p->op);
	if (p->op == QCOW2_OP_READ)
		assert_memory_equal(p->buf, w->oracle + p->off, p->len);
	else if (p->op == QCOW2_OP_WRITE)
		memcpy(w->oracle + p->off, p->buf, p->len);
	else if (p->op != QCOW2_OP_FLUSH)
		memset(w->oracle + p->off, 0, p->len);
	p->busy = false;
	w->n_busy--;
}

static void reap_some(struct world *w, int timeout_ms)
{
	struct qcow2_completion c[DEPTH] = { QCOW2_COMPLETION_INIT };
	uint32_t n;

	assert_int_equal(qcow2_queue_reap(w->q, c,
					  1 + (uint32_t)random_below(DEPTH),
					  timeout_ms, &n, NULL),
			 0);
	for (uint32_t i = 0; i < n; i++)
		check_done(w, &c[i]);
}

static void submit_some(struct world *w)
{
	struct qcow2_request r[DEPTH];
	uint32_t n = 0;
	uint32_t taken;

	for (unsigned i = 0; i < DEPTH; i++)
		if (!w->places[i].busy && random_below(3) &&
		    make_request(w, i, &r[n]))
			n++;
	w->n_busy += n;
	assert_int_equal(qcow2_queue_submit(w->q, r, n, &taken, NULL), 0);
	assert_int_equal(taken, n);
}

static void compare_all(struct world *w)
{
	uint8_t *all = malloc(DISK_BYTES);

	assert_non_null(all);
	assert_int_equal(qcow2_pread(w->img, all, DISK_BYTES, 0, 0, NULL), 0);
	assert_memory_equal(all, w->oracle, DISK_BYTES);
	free(all);
}

static void make_image(const char *path, const struct kind *k, const char *base)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;

	o.virtual_size = DISK_BYTES;
	if (k->extended_l2)
		o.flags |= QCOW2_CREATE_EXTENDED_L2;
	if (base) {
		o.backing_file = base;
		o.backing_format = "raw";
	}
	assert_int_equal(qcow2_create_path(path, &o, NULL), 0);
}

static void make_base(const char *path, uint8_t *oracle)
{
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);

	assert_true(fd >= 0);
	for (uint64_t i = 0; i < DISK_BYTES; i++)
		oracle[i] = (uint8_t)(i >> 9 | 1);
	assert_int_equal(write(fd, oracle, DISK_BYTES), DISK_BYTES);
	close(fd);
}

static void world_open(struct world *w, const char *path, const struct kind *k)
{
	struct qcow2_open_opts o = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_queue_opts qo = QCOW2_QUEUE_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_error err;

	gate.mode = QCOW2_EXTERNAL_ANY;
	o.gate = &gate;
	o.flags = QCOW2_OPEN_RDWR | k->open_flags;
	if (qcow2_open_path(path, &o, &w->img, &err) < 0)
		fail_msg("%s", err.message);
	qo.flags = k->queue_flags;
	qo.n_workers = k->n_workers;
	qo.depth = DEPTH;
	if (qcow2_queue_new(w->img, &qo, &w->q, &err) < 0)
		fail_msg("%s", err.message);
}

static void world_close(struct world *w, const char *path)
{
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;

	qcow2_queue_free(w->q);
	compare_all(w);
	assert_int_equal(qcow2_close(w->img, NULL), 0);
	assert_int_equal(qcow2_check_path(path, NULL, &result, NULL), 0);
	assert_int_equal(result.corruptions, 0);
	assert_int_equal(result.leaks, 0);
}

static void print_ways(struct world *w, const struct kind *k)
{
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;

	assert_int_equal(qcow2_queue_get_info(w->q, &info, NULL), 0);
	print_message("%s: %" PRIu64 " at once, %" PRIu64
		      " by the ring, %" PRIu64 " by workers, %" PRIu64
		      " blocking\n",
		      k->name, info.n_inline, info.n_ring, info.n_worker,
		      info.n_blocking);
	assert_int_equal(info.n_under_way, 0);
	if (info.has_ring)
		assert_true(info.n_ring > 0);
}

static void run(const struct kind *k)
{
	struct world w = { .align = k->align };
	char path[] = "queue-model.qcow2";
	char base[] = "queue-model.raw";
	unsigned rounds = TEST_AMOUNT(60, 400);

	rng = test_rng_init(test_seed());
	w.oracle = calloc(1, DISK_BYTES);
	assert_non_null(w.oracle);
	for (unsigned i = 0; i < DEPTH; i++)
		assert_int_equal(posix_memalign((void **)&w.places[i].buf,
						ALIGN, REQUEST_BYTES_MAX),
				 0);
	if (k->with_base)
		make_base(base, w.oracle);
	make_image(path, k, k->with_base ? base : NULL);
	world_open(&w, path, k);
	for (unsigned i = 0; i < rounds; i++) {
		submit_some(&w);
		reap_some(&w, (int)random_below(3) - 1);
	}
	while (w.n_busy)
		reap_some(&w, -1);
	print_ways(&w, k);
	world_close(&w, path);
	for (unsigned i = 0; i < DEPTH; i++)
		free(w.places[i].buf);
	free(w.oracle);
	unlink(path);
	unlink(base);
}

TEST(requests_by_the_ring)
{
	run(&(struct kind){ "ring", 0, 2, 0, 512, false, false });
}

TEST(requests_by_the_ring_without_workers)
{
	run(&(struct kind){ "ring alone", 0, 0, 0, 512, true, false });
}

TEST(requests_by_the_ring_with_o_direct)
{
	run(&(struct kind){ "direct", 0, 2, QCOW2_OPEN_DIRECT, 4096, false,
			    false });
}

TEST(unaligned_requests_with_o_direct)
{
	run(&(struct kind){ "unaligned", 0, 2, QCOW2_OPEN_DIRECT, 512, false,
			    true });
}

TEST(requests_over_a_base)
{
	run(&(struct kind){ "base", 0, 2, 0, 1, true, true });
}

TEST(requests_by_workers)
{
	run(&(struct kind){ "workers", QCOW2_QUEUE_NO_RING, 3, 0, 512, false,
			    true });
}

TEST(requests_on_the_callers_thread)
{
	run(&(struct kind){ "alone", QCOW2_QUEUE_NO_RING, 0, 0, 512, false,
			    false });
}

/* The first completion wakes up who reaps, and nobody reaps here. */
TEST(a_drain_ends_with_the_last_of_many)
{
	const struct kind k = { "drain", QCOW2_QUEUE_NO_RING,
				2,       QCOW2_OPEN_DIRECT,
				4096,    false,
				false };
	char path[] = "queue-drain.qcow2";
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;
	struct qcow2_request r[DEPTH];
	struct iovec iov[DEPTH];
	struct world w = { 0 };
	uint32_t taken;
	void *buf;

	assert_int_equal(posix_memalign(&buf, ALIGN, DEPTH * ALIGN), 0);
	make_image(path, &k, NULL);
	world_open(&w, path, &k);
	for (unsigned i = 0; i < DEPTH; i++) {
		iov[i] = (struct iovec){ (char *)buf + i * ALIGN, ALIGN };
		r[i] = (struct qcow2_request)QCOW2_REQUEST_INIT;
		r[i].op = QCOW2_OP_WRITE;
		r[i].iov = &iov[i];
		r[i].iovcnt = 1;
		r[i].off = i * UINT64_C(65536);
	}
	assert_int_equal(qcow2_queue_submit(w.q, r, DEPTH, &taken, NULL), 0);
	assert_int_equal(qcow2_queue_drain(w.q, NULL), 0);
	assert_int_equal(qcow2_queue_get_info(w.q, &info, NULL), 0);
	assert_int_equal(info.n_ready, DEPTH);
	qcow2_queue_free(w.q);
	assert_int_equal(qcow2_close(w.img, NULL), 0);
	free(buf);
	unlink(path);
}
