/*
 * Completions are heard of: by a reap, by a drain, and by whoever polls.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "rig.h"

#define ok(expression) assert_int_equal((expression), 0)

static void sleep_ms(long ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000 };

	nanosleep(&t, NULL);
}

/* ---- Drain --------------------------------------------------------------- */

static void *release_slowly(void *arg)
{
	struct sched_hold **h = arg;

	for (int i = 0; i < 2; i++) {
		assert_true(sched_wait_caught(h[i]));
		sleep_ms(20);
		sched_release(h[i]);
	}
	return NULL;
}

/* The first completion made the eventfd readable, the second did not, and a
 * drain that had read it slept for ever. */
TEST(a_drain_hears_of_the_last_completion)
{
	struct queue_rig *t = rig_new(2, false);
	struct sched_hold *holds[] = {
		sched_hold(t->sched, "file.write.before", 0, 0),
		sched_hold(t->sched, "file.write.before", 0, 0),
	};
	pthread_t thread;

	ok(pthread_create(&thread, NULL, release_slowly, holds));
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 0, 0);
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 1 << 20, 1);
	ok(qcow2_queue_drain(t->q, NULL));
	assert_int_equal(rig_info(t).n_ready, 2);
	assert_int_equal(rig_info(t).n_under_way, 0);
	pthread_join(thread, NULL);
	rig_free(t);
}

TEST(what_a_drain_leaves_can_be_polled_for)
{
	struct queue_rig *t = rig_new(2, false);

	for (int round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 8; i++)
			rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, i * 8192,
				   i);
		ok(qcow2_queue_drain(t->q, NULL));
		assert_true(rig_is_readable(t));
		rig_read_fd(t);
		assert_int_equal(rig_reap(t), 8);
		assert_int_equal(rig_reap(t), 0);
	}
	rig_free(t);
}

TEST(a_drain_waits_for_the_ring_and_for_workers)
{
	struct queue_rig *t = rig_new(2, true);

	t->ring->late = 12;
	for (unsigned i = 0; i < 8; i++)
		rig_submit(t, QCOW2_OP_WRITE, i % 2 ? QCOW2_FUA : 0, 4096,
			   i * 8192, i);
	ok(qcow2_queue_drain(t->q, NULL));
	assert_true(rig_is_readable(t));
	assert_int_equal(rig_reap(t), 8);
	rig_free(t);
}

/* ---- Reap ---------------------------------------------------------------- */

/* A reap that waits reads the eventfd itself; what it leaves must be heard of
 * again. */
TEST(what_a_waiting_reap_leaves_can_be_polled_for)
{
	struct queue_rig *t = rig_new(1, false);
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	uint32_t n;

	for (int round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 4; i++)
			rig_submit(t, QCOW2_OP_FLUSH, 0, 0, 0, i);
		ok(qcow2_queue_reap(t->q, &c, 1, -1, &n, NULL));
		assert_int_equal(n, 1);
		for (uint32_t left = 3; left; left -= n) {
			struct pollfd p = { .fd = qcow2_queue_fd(t->q),
					    .events = POLLIN };

			assert_int_equal(poll(&p, 1, 5000), 1);
			rig_read_fd(t);
			for (uint32_t more; (more = rig_reap(t)); n += more)
				left -= more;
			n = 0;
		}
	}
	rig_free(t);
}

TEST(a_reap_takes_more_than_the_ring_gives_at_once)
{
	struct queue_rig *t = rig_new(0, true);

	t->ring->held = true;
	for (unsigned i = 0; i < RIG_DEPTH; i++)
		rig_submit(t, QCOW2_OP_READ, 0, 4096, i * 4096, i);
	assert_int_equal(rig_reap(t), 0);
	assert_int_equal(test_ring_under_way(t->ring), RIG_DEPTH);
	test_ring_release(t->ring);
	assert_int_equal(rig_reap(t), RIG_DEPTH);
	rig_free(t);
}

static void *write_over(void *arg)
{
	struct queue_rig *t = arg;
	uint8_t byte = 0xee;

	ok(qcow2_pwrite(t->img, &byte, 1, 100, 0, NULL));
	return NULL;
}

static void *release_later(void *arg)
{
	sleep_ms(50);
	sched_release(arg);
	return NULL;
}

/* A writer that waited for the range took the transfer from the ring; the reap
 * waited for the ring, which had nothing any more. */
TEST(a_reap_hears_of_what_another_thread_took_from_the_ring)
{
	struct queue_rig *t = rig_new(0, true);
	struct sched_hold *h = sched_hold(t->sched, "file.flush.before", 0, 0);
	pthread_t writer;
	pthread_t helper;

	t->ring->held = true;
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 0, 0);
	assert_int_equal(test_ring_under_way(t->ring), 1);
	ok(pthread_create(&writer, NULL, write_over, t));
	test_ring_release(t->ring);
	/* The writer is at the flush that ends the request. */
	assert_true(sched_wait_caught(h));
	assert_int_equal(test_ring_under_way(t->ring), 0);
	ok(pthread_create(&helper, NULL, release_later, h));
	rig_expect(t, 0, 0);
	pthread_join(helper, NULL);
	pthread_join(writer, NULL);
	rig_expect_bytes(t, 0xee, 1, 100);
	rig_expect_bytes(t, 1, 100, 0);
	rig_free(t);
}

/* ---- Signals and timeouts ------------------------------------------------ */

static void on_signal(int number)
{
	(void)number;
}

struct nuisance {
	pthread_t target;
	pthread_t thread;
	atomic_bool stop;
};

/* Again and again, in case that one comes while nobody waits. */
static void *send_signals(void *arg)
{
	struct nuisance *x = arg;

	while (!atomic_load(&x->stop)) {
		sleep_ms(10);
		pthread_kill(x->target, SIGUSR1);
	}
	return NULL;
}

static void signals_begin(struct nuisance *x)
{
	const struct sigaction sa = { .sa_handler = on_signal };

	ok(sigaction(SIGUSR1, &sa, NULL));
	x->target = pthread_self();
	atomic_init(&x->stop, false);
	ok(pthread_create(&x->thread, NULL, send_signals, x));
}

static void signals_end(struct nuisance *x)
{
	atomic_store(&x->stop, true);
	pthread_join(x->thread, NULL);
}

static void reap_nothing(struct queue_rig *t, int timeout_ms)
{
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	uint32_t n = 7;

	ok(qcow2_queue_reap(t->q, &c, 1, timeout_ms, &n, NULL));
	assert_int_equal(n, 0);
}

TEST(a_signal_ends_the_wait_for_the_ring)
{
	struct queue_rig *t = rig_new(0, true);
	struct nuisance x;

	t->ring->held = true;
	rig_submit(t, QCOW2_OP_READ, 0, 4096, 0, 0);
	signals_begin(&x);
	reap_nothing(t, -1);
	reap_nothing(t, 60000);
	signals_end(&x);
	test_ring_release(t->ring);
	rig_expect(t, 0, 0);
	rig_free(t);
}

TEST(a_signal_ends_the_wait_for_a_worker)
{
	struct queue_rig *t = rig_new(1, false);
	struct sched_hold *h = sched_hold(t->sched, "file.write.before", 0, 0);
	struct nuisance x;

	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 0, 0);
	assert_true(sched_wait_caught(h));
	signals_begin(&x);
	reap_nothing(t, -1);
	signals_end(&x);
	sched_release(h);
	rig_expect(t, 0, 0);
	rig_free(t);
}

TEST(a_wait_ends_in_time)
{
	struct queue_rig *t = rig_new(0, true);
	struct timespec a;
	struct timespec b;
	int64_t ms;

	t->ring->held = true;
	reap_nothing(t, -1); /* nothing is under way */
	rig_submit(t, QCOW2_OP_READ, 0, 4096, 0, 0);
	reap_nothing(t, 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	reap_nothing(t, 40);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
	assert_in_range(ms, 39, 20000);
	test_ring_release(t->ring);
	rig_expect(t, 0, 0);
	rig_free(t);
}

/* ---- A host that is short of something ----------------------------------- */

/* Who only polls would never have come back to submit them again. */
TEST(transfers_that_were_not_begun_can_be_polled_for)
{
	struct queue_rig *t = rig_new(0, true);
	struct pollfd p = { .events = POLLIN };
	uint32_t n = 0;

	t->ring->n_failing_submits = 5;
	rig_submit(t, QCOW2_OP_READ, 0, 4096, 0, 0);
	p.fd = qcow2_queue_fd(t->q);
	while (n == 0) {
		assert_int_equal(poll(&p, 1, 5000), 1);
		rig_read_fd(t);
		n = rig_reap(t);
	}
	assert_int_equal(t->ring->n_failing_submits, 0);
	assert_int_equal(t->bufs[0][0], 0x77);
	rig_free(t);
}

TEST(a_reap_begins_transfers_again)
{
	struct queue_rig *t = rig_new(1, true);

	t->ring->n_failing_submits = 20;
	rig_submit(t, QCOW2_OP_WRITE, 0, 4096, 0, 0);
	rig_submit(t, QCOW2_OP_WRITE, 0, 4096, 8192, 1);
	ok(qcow2_queue_drain(t->q, NULL));
	assert_int_equal(rig_reap(t), 2);
	rig_free(t);
}
