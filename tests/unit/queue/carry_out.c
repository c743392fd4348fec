/*
 * Requests whose bytes a ring moves: late, in part, not at all; and those who
 * wait for them.
 */
#include <pthread.h>
#include <time.h>

#include "rig.h"

#define ok(expression) assert_int_equal((expression), 0)

static void sleep_ms(long ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000 };

	nanosleep(&t, NULL);
}

/* ---- The ring's answers -------------------------------------------------- */

static void expect_answer(int answer, int rc)
{
	struct queue_rig *t = rig_new(0, true);

	t->ring->held = true;
	rig_submit(t, QCOW2_OP_READ, 0, 4096, 0, 0);
	test_ring_end(t->ring, 0, answer);
	rig_expect(t, 0, rc);
	if (rc == 0)
		assert_int_equal(t->bufs[0][4095], 0x77);
	rig_submit(t, QCOW2_OP_WRITE, 0, 4096, 8192, 1);
	test_ring_end(t->ring, 0, answer);
	rig_expect(t, 1, rc);
	rig_expect_bytes(t, rc == 0 ? 2 : 0x77, 4096, 8192);
	/* New clusters. */
	rig_submit(t, QCOW2_OP_WRITE, 0, RIG_BYTES, RIG_WRITTEN, 2);
	if (test_ring_under_way(t->ring))
		test_ring_end(t->ring, 0, answer);
	else
		rc = 0;
	rig_expect(t, 2, rc);
	rig_expect_bytes(t, rc == 0 ? 3 : 0, RIG_BYTES, RIG_WRITTEN);
	rig_free(t);
}

TEST(no_answer_is_no_failure)
{
	expect_answer(-EAGAIN, 0);
	expect_answer(-EINTR, 0);
	expect_answer(-ECANCELED, 0);
	expect_answer(0, 0);
}

TEST(a_failure_is_one)
{
	expect_answer(-EIO, -EIO);
	expect_answer(-ENOSPC, -ENOSPC);
}

TEST(a_write_that_failed_is_repeated)
{
	struct queue_rig *t = rig_new(1, true);

	t->ring->held = true;
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 4096, 0);
	test_ring_end(t->ring, 0, -ENOSPC);
	rig_expect(t, 0, -ENOSPC);
	t->ring->held = false;
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 4096, 0);
	rig_expect(t, 0, 0);
	rig_expect_bytes(t, 1, 4096, 4096);
	rig_free(t);
}

/* Bytes arrive in part, in any order, with calls that fail for a while. */
TEST(a_ring_in_disorder)
{
	struct queue_rig *t = rig_new(2, true);

	t->ring->random = test_seed();
	t->ring->late = 6;
	t->ring->early = 8;
	t->ring->is_short = 6;
	t->ring->no_answer = 3;
	for (int round = 0; round < 100; round++) {
		t->ring->n_failing_submits = (unsigned)round % 3;
		for (unsigned i = 0; i < RIG_DEPTH; i++)
			rig_submit(t, QCOW2_OP_WRITE, i % 5 ? 0 : QCOW2_FUA,
				   RIG_BYTES - 512 * i,
				   (i + (unsigned)round % 90) * RIG_BYTES, i);
		for (unsigned n = 0; n < RIG_DEPTH;) {
			struct qcow2_completion c = QCOW2_COMPLETION_INIT;
			uint32_t one;

			ok(qcow2_queue_reap(t->q, &c, 1, -1, &one, NULL));
			ok(c.rc);
			n += one;
		}
		for (unsigned i = 0; i < RIG_DEPTH; i++)
			rig_expect_bytes(
				t, (uint8_t)(i + 1), RIG_BYTES - 512 * i,
				(i + (unsigned)round % 90) * RIG_BYTES);
	}
	rig_free(t);
}

/* ---- A flush ------------------------------------------------------------- */

TEST(a_flush_covers_what_completed)
{
	struct queue_rig *t = rig_new(1, true);
	uint64_t before = t->count.calls[STORE_OP_FLUSH];

	rig_submit(t, QCOW2_OP_WRITE, 0, 4096, 0, 0);
	rig_expect(t, 0, 0);
	assert_int_equal(t->count.calls[STORE_OP_FLUSH], before);
	rig_submit(t, QCOW2_OP_FLUSH, 0, 0, 0, 1);
	rig_expect(t, 1, 0);
	assert_true(t->count.calls[STORE_OP_FLUSH] > before);
	rig_free(t);
}

TEST(a_write_with_fua_is_flushed)
{
	struct queue_rig *t = rig_new(0, true);
	uint64_t before = t->count.calls[STORE_OP_FLUSH];

	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 0, 0);
	rig_expect(t, 0, 0);
	assert_true(t->count.calls[STORE_OP_FLUSH] > before);
	assert_int_equal(rig_info(t).n_ring, 1);
	rig_free(t);
}

/* ---- Those who wait ------------------------------------------------------ */

/* The only worker waited for a range whose end was a job behind its own. */
static void one_worker_waits(int answer)
{
	struct queue_rig *t = rig_new(1, true);
	struct qcow2_completion c = QCOW2_COMPLETION_INIT;
	uint32_t n;

	t->ring->held = true;
	rig_submit(t, QCOW2_OP_WRITE, 0, 8192, 0, 0);
	assert_int_equal(test_ring_under_way(t->ring), 1);
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 4096, 1);
	sleep_ms(20);
	test_ring_end(t->ring, 0, answer);
	for (unsigned done = 0; done < 2; done += n) {
		ok(qcow2_queue_reap(t->q, &c, 1, -1, &n, NULL));
		ok(c.rc);
	}
	rig_expect_bytes(t, 1, 4096, 0);
	rig_expect_bytes(t, 2, 4096, 4096);
	rig_free(t);
}

TEST(a_worker_that_waits_ends_what_it_waits_for)
{
	one_worker_waits(-EAGAIN);
	one_worker_waits(-ECANCELED);
	one_worker_waits(0);
}

/* A call waits on the thread that ought to look after the ring. */
TEST(a_call_on_the_queues_own_thread_ends_what_it_waits_for)
{
	struct queue_rig *t = rig_new(1, true);
	uint8_t byte = 9;

	t->ring->is_short = 16;
	rig_submit(t, QCOW2_OP_WRITE, 0, 4096, 0, 0);
	ok(qcow2_pwrite(t->img, &byte, 1, 17, 0, NULL));
	rig_expect(t, 0, 0);
	rig_expect_bytes(t, 9, 1, 17);
	rig_expect_bytes(t, 1, 17, 0);
	rig_free(t);
}

TEST(other_calls_on_the_queues_own_thread)
{
	struct queue_rig *t = rig_new(0, true);

	t->ring->late = 8;
	rig_submit(t, QCOW2_OP_WRITE, 0, 4096, 0, 0);
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_FUA, 4096, 8192, 1);
	rig_submit(t, QCOW2_OP_READ, 0, 4096, 16384, 2);
	ok(qcow2_flush(t->img, NULL));
	ok(qcow2_snapshot_create(t->img, "one", NULL, NULL));
	ok(qcow2_zero(t->img, 4096, 0, 0, NULL));
	ok(qcow2_snapshot_delete(t->img, "one", NULL));
	ok(qcow2_discard(t->img, RIG_BYTES, RIG_BYTES, 0, NULL));
	ok(qcow2_queue_drain(t->q, NULL));
	assert_int_equal(rig_reap(t), 3);
	rig_expect_bytes(t, 0, 4096, 0);
	rig_expect_bytes(t, 2, 4096, 8192);
	rig_free(t);
}

/* ---- NOWAIT -------------------------------------------------------------- */

/* Such a request was carried to its end by blocking calls. */
TEST(a_request_that_must_not_wait_does_not)
{
	struct queue_rig *t = rig_new(0, true);
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ) |
					  FAULT_ON(STORE_OP_WRITE),
				   .nth = 1,
				   .persistent = true,
				   .code = -EAGAIN };

	t->ring->held = true;
	rig_submit(t, QCOW2_OP_READ, QCOW2_NOWAIT, 4096, 0, 0);
	rig_submit(t, QCOW2_OP_WRITE, QCOW2_NOWAIT, 4096, 8192, 1);
	assert_int_equal(test_ring_under_way(t->ring), 2);
	fault_arm(&t->fault, &plan);
	test_ring_end(t->ring, 0, 512);
	rig_expect(t, 0, -EAGAIN);
	test_ring_end(t->ring, 0, -EAGAIN);
	rig_expect(t, 1, -EAGAIN);
	fault_arm(&t->fault, NULL);
	rig_expect_bytes(t, 0x77, 4096, 8192);
	assert_int_equal(rig_info(t).n_under_way, 0);
	rig_free(t);
}

TEST(the_rest_is_moved_at_once_where_it_can_be)
{
	struct queue_rig *t = rig_new(0, true);

	t->ring->held = true;
	rig_submit(t, QCOW2_OP_READ, QCOW2_NOWAIT, 4096, 0, 0);
	test_ring_end(t->ring, 0, 512);
	rig_expect(t, 0, 0);
	assert_int_equal(t->bufs[0][512], 0x77);
	rig_free(t);
}

/* ---- The end ------------------------------------------------------------- */

TEST(a_queue_is_freed_with_requests_under_way)
{
	for (int i = 0; i < 20; i++) {
		struct queue_rig *t = rig_new(1, true);

		t->ring->random = (uint64_t)i;
		t->ring->late = 8;
		t->ring->is_short = 8;
		for (unsigned j = 0; j < RIG_DEPTH; j++)
			rig_submit(t, j % 3 ? QCOW2_OP_WRITE : QCOW2_OP_READ,
				   j % 4 == 1 ? QCOW2_FUA : 0, 4096, j * 2048,
				   j);
		rig_free(t);
	}
}
