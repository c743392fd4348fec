#include "chain/requests.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "support/test.h"

/* As if it had begun @ns ago. */
static uint64_t ago(uint64_t ns)
{
	return requests_clock() - ns;
}

static uint64_t steps_sum(const struct qcow2_request_stats *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < QCOW2_LATENCY_STEPS; i++)
		n += s->n_by_ns[i];
	return n;
}

TEST(the_clock_goes_on)
{
	struct timespec pause = { 0, 2000000 };
	uint64_t before = requests_clock();

	nanosleep(&pause, NULL);
	assert_true(requests_clock() - before >= 2000000);
}

TEST(what_is_done_has_bytes_and_time)
{
	static struct requests r;
	struct qcow2_request_stats s;

	assert_int_equal(requests_count(&r, 0, 4096, ago(3000000)), 0);
	assert_int_equal(requests_count(&r, 0, 1024, ago(5000000)), 0);
	requests_get(&r, &s);
	assert_int_equal(s.done, 2);
	assert_int_equal(s.bytes, 5120);
	assert_true(s.ns >= 8000000);
	assert_true(s.ns_max >= 5000000 && s.ns_max <= s.ns);
	assert_int_equal(steps_sum(&s), 2);
}

TEST(the_longest_stays_the_longest)
{
	static struct requests r;
	struct qcow2_request_stats s;

	requests_count(&r, 0, 0, ago(3600 * UINT64_C(1000000000)));
	requests_count(&r, 0, 0, ago(0));
	requests_get(&r, &s);
	assert_true(s.ns_max >= 3600 * UINT64_C(1000000000));
	assert_int_equal(s.n_by_ns[QCOW2_LATENCY_STEPS - 1], 1);
}

TEST(failures_have_no_time)
{
	static struct requests r;
	struct qcow2_request_stats s;

	assert_int_equal(requests_count(&r, -EIO, 1, ago(1000)), -EIO);
	assert_int_equal(requests_count(&r, -EAGAIN, 1, ago(1000)), -EAGAIN);
	assert_int_equal(requests_count(&r, -EINVAL, 1, ago(1000)), -EINVAL);
	requests_get(&r, &s);
	assert_int_equal(s.done + s.bytes + s.ns + s.ns_max + steps_sum(&s), 0);
	assert_int_equal(s.failed, 1);
	assert_int_equal(s.again, 1);
}

/* The lower half of each step, so that the time that the test itself takes
 * does not reach the next one. */
TEST(each_step_is_twice_as_long)
{
	for (unsigned i = 10; i < QCOW2_LATENCY_STEPS; i++) {
		struct requests r = { 0 };
		struct qcow2_request_stats s;
		uint64_t begin = UINT64_C(512) << i;

		requests_count(&r, 0, 0, ago(begin));
		requests_get(&r, &s);
		/* A machine that was busy elsewhere took longer. */
		if (s.ns_max < 2 * begin || i == QCOW2_LATENCY_STEPS - 1)
			assert_int_equal(s.n_by_ns[i], 1);
	}
}

/* ---- Threads ------------------------------------------------------------- */

enum { N_THREADS = 24, N_EACH = 5000 };

static void *count_on(void *arg)
{
	for (unsigned i = 0; i < N_EACH; i++)
		requests_count(arg, 0, 3, ago(i));
	return NULL;
}

/* More threads than slots, so that some share one. */
TEST(many_threads_lose_nothing)
{
	static struct requests r;
	pthread_t threads[N_THREADS];
	struct qcow2_request_stats s;

	for (unsigned i = 0; i < N_THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, count_on, &r), 0);
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	requests_get(&r, &s);
	assert_int_equal(s.done, N_THREADS * N_EACH);
	assert_int_equal(s.bytes, 3 * N_THREADS * N_EACH);
	assert_int_equal(steps_sum(&s), N_THREADS * N_EACH);
}
