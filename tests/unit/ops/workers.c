#include "ops/workers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "support/test.h"

TEST(never_counts_more_workers_than_pieces)
{
	assert_int_equal(workers_count(8, 3), 3);
	assert_int_equal(workers_count(8, 0), 1);
	assert_int_equal(workers_count(3, 1000), 3);
	assert_int_equal(workers_count(0, 1), 1);
	assert_true(workers_count(0, UINT64_MAX) >= 1);
}

struct roll_call {
	atomic_uint seen[16];
	atomic_uint unblocked;
};

static int answer(struct workers *w, unsigned index, void *opaque,
		  struct qcow2_error *err)
{
	struct roll_call *call = opaque;
	sigset_t blocked;

	(void)err;
	assert_false(workers_stopped(w));
	atomic_fetch_add(&call->seen[index], 1);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (!sigismember(&blocked, SIGTERM))
		atomic_fetch_add(&call->unblocked, 1);
	return 0;
}

TEST(runs_the_function_once_for_each_worker)
{
	for (unsigned n = 1; n <= 16; n++) {
		struct roll_call call = { 0 };

		assert_int_equal(workers_run(n, true, answer, &call, NULL), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(call.seen[i], i < n);
	}
}

TEST(only_the_callers_own_thread_takes_signals)
{
	struct roll_call call = { 0 };

	assert_int_equal(workers_run(8, true, answer, &call, NULL), 0);
	assert_int_equal(call.unblocked, 1);
}

/* Worker 2 fails; the others work until they are told to stop. */
static int fail_as_second(struct workers *w, unsigned index, void *opaque,
			  struct qcow2_error *err)
{
	atomic_uint *stopped = opaque;

	if (index == 2)
		return error_set(err, -ENOSPC, "worker %u is full", index);
	while (!workers_stopped(w))
		sched_yield();
	atomic_fetch_add(stopped, 1);
	return 0;
}

TEST(one_failure_stops_the_others_and_is_told)
{
	struct qcow2_error err = { 0 };
	atomic_uint stopped = 0;

	assert_int_equal(workers_run(5, true, fail_as_second, &stopped, &err),
			 -ENOSPC);
	assert_int_equal(stopped, 4);
	assert_int_equal(err.code, -ENOSPC);
	assert_string_equal(err.message, "worker 2 is full");
}

/* All fail.  Each tells who was first, and exactly one was first. */
static int fail_in_order(struct workers *w, unsigned index, void *opaque,
			 struct qcow2_error *err)
{
	atomic_uint *next = opaque;

	while (atomic_load(next) != index)
		sched_yield();
	/* The first failure is on record before the next worker fails. */
	if (index)
		while (!workers_stopped(w))
			sched_yield();
	atomic_fetch_add(next, 1);
	return error_set(err, -1 - (int)index, "worker %u", index);
}

TEST(of_several_failures_one_is_told_whole)
{
	struct qcow2_error err = { 0 };
	char want[32];
	atomic_uint next = 0;
	int rc;

	rc = workers_run(4, true, fail_in_order, &next, &err);
	assert_in_range(-rc, 1, 4);
	assert_int_equal(err.code, rc);
	snprintf(want, sizeof(want), "worker %d", -rc - 1);
	assert_string_equal(err.message, want);
}

struct shift {
	atomic_uint n_seen;
	unsigned n_processors;
	unsigned n_wakes; /* by the first */
};

static int wait_for_all(struct workers *w, unsigned index, void *opaque,
			struct qcow2_error *err)
{
	struct shift *s = opaque;

	(void)err;
	atomic_fetch_add(&s->n_seen, 1);
	for (unsigned i = 0; index == 0 && i < s->n_wakes; i++) {
		assert_true(workers_sleep(w));
		workers_wake(w);
	}
	while (atomic_load(&s->n_seen) < s->n_processors + s->n_wakes)
		sched_yield();
	return 0;
}

/* `-m 16` on two processors: 16 threads took 1.3 to 2.7 times as long as
 * two. */
TEST(those_beyond_the_processors_sleep_until_woken)
{
	unsigned n = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);

	for (unsigned wakes = 0; wakes < 3; wakes++) {
		struct shift s = { .n_processors = n, .n_wakes = wakes };

		assert_int_equal(
			workers_run(n + 5, false, wait_for_all, &s, NULL), 0);
		assert_int_equal(s.n_seen, n + wakes);
	}
}

static int wake_all(struct workers *w, unsigned index, void *opaque,
		    struct qcow2_error *err)
{
	(void)index, (void)opaque, (void)err;
	while (workers_sleep(w))
		workers_wake(w);
	/* There is none left to wake. */
	workers_wake(w);
	assert_false(workers_sleep(w));
	return 0;
}

TEST(nobody_is_left_to_wake_when_all_work)
{
	assert_int_equal(workers_run(1, false, wake_all, NULL, NULL), 0);
	assert_int_equal(workers_run(40, false, wake_all, NULL, NULL), 0);
	assert_int_equal(workers_run(3, true, wake_all, NULL, NULL), 0);
}

static int fork_once(struct workers *w, unsigned index, void *opaque,
		     struct qcow2_error *err)
{
	atomic_int *child = opaque;

	(void)err;
	while (index && atomic_load(child) < 0)
		sched_yield();
	if (index)
		return 0;
	/* The others sleep by then, and in the child for ever. */
	usleep(20000);
	atomic_store(child, fork());
	workers_wake(w);
	return 0;
}

TEST(a_child_does_not_wait_for_those_who_sleep)
{
	unsigned n = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	atomic_int child = -1;
	int status = 0;

	assert_int_equal(workers_run(n + 3, false, fork_once, &child, NULL), 0);
	if (child == 0)
		_exit(7);
	alarm(30);
	assert_int_equal(waitpid(child, &status, 0), child);
	alarm(0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* ---- Its validator ------------------------------------------------------- */

static int spoil_pool(struct workers *w, unsigned index, void *opaque,
		      struct qcow2_error *err)
{
	(void)index, (void)opaque, (void)err;
	workers_validate(w);
	ASSERT_ABORTS(w->n = 0; workers_validate(w));
	ASSERT_ABORTS(w->n_awake = 0; workers_validate(w));
	ASSERT_ABORTS(w->n_awake = w->n + 1; workers_validate(w));
	ASSERT_ABORTS(w->rc = 1; workers_validate(w));
	ASSERT_ABORTS(w->rc = -EIO; workers_validate(w));
	return 0;
}

TEST(a_pool_that_is_not_as_it_should_be_is_found)
{
	struct qcow2_error err;

	assert_int_equal(workers_run(1, true, spoil_pool, NULL, &err), 0);
	ASSERT_ABORTS(workers_run(0, true, spoil_pool, NULL, &err));
}
