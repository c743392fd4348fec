/*
 * Who may listen to an image, and one threshold that many threads pass.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

enum { CLUSTER = 65536, DISK_CLUSTERS = 2048 };

#define ok(expression) assert_int_equal((expression), 0)

struct fixture {
	struct qcow2_store *store;
	struct qcow2_image *img;
	_Atomic unsigned n;
	_Atomic unsigned n_freed;
	_Atomic uint64_t goal;
	_Atomic uint64_t step; /* 0: the threshold is not set again */
};

static void hear(void *opaque, const struct qcow2_event *event)
{
	struct fixture *f = opaque;

	if (event->kind != QCOW2_EVENT_WRITE_THRESHOLD ||
	    event->value <= f->goal)
		return;
	f->n++;
	if (!f->step)
		return;
	f->goal += f->step;
	qcow2_set_write_threshold(f->img, f->goal, NULL);
}

static void release(void *opaque)
{
	((struct fixture *)opaque)->n_freed++;
}

static int setup(void **state)
{
	static struct fixture f;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	memset(&f, 0, sizeof(f));
	create.virtual_size = (uint64_t)DISK_CLUSTERS * CLUSTER;
	opts.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_store_new_memory(&f.store, NULL));
	ok(qcow2_create_store(f.store, NULL, &create, NULL));
	ok(qcow2_open_store(f.store, &opts, &f.img, NULL));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ok(qcow2_close(f->img, NULL));
	qcow2_store_unref(f->store);
	return 0;
}

TEST_WITH(arguments_are_checked, setup, teardown)
{
	struct fixture *f = *state;

	assert_int_equal(qcow2_set_event_fn(NULL, hear, f, NULL, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_set_event_fn(f->img, NULL, f, release, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_set_write_threshold(NULL, 1, NULL), -EINVAL);
	assert_int_equal(f->n_freed, 0);
}

TEST_WITH(a_function_that_is_replaced_is_freed, setup, teardown)
{
	struct fixture *f = *state;

	ok(qcow2_set_event_fn(f->img, hear, f, release, NULL));
	ok(qcow2_set_event_fn(f->img, hear, f, release, NULL));
	assert_int_equal(f->n_freed, 1);
	ok(qcow2_set_event_fn(f->img, NULL, NULL, NULL, NULL));
	assert_int_equal(f->n_freed, 2);
}

TEST_WITH(only_a_writer_has_a_threshold, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	ok(qcow2_close(f->img, NULL));
	ok(qcow2_open_store(f->store, NULL, &f->img, NULL));
	assert_int_equal(qcow2_set_write_threshold(f->img, 1, NULL), -EBADF);
	ok(qcow2_close(f->img, NULL));
	opts.flags = QCOW2_OPEN_RDWR;
	opts.format = QCOW2_FORMAT_RAW;
	ok(qcow2_open_store(f->store, &opts, &f->img, NULL));
	assert_int_equal(qcow2_set_write_threshold(f->img, 1, NULL), -ENOTSUP);
}

/* ---- Threads ------------------------------------------------------------- */

enum { N_THREADS = 8, N_EACH = DISK_CLUSTERS / 8 };

struct worker {
	struct fixture *f;
	unsigned number;
};

static void *write_on(void *arg)
{
	struct worker *w = arg;
	static const uint8_t page[4096] = { 1 };

	for (unsigned i = 0; i < N_EACH; i++) {
		uint64_t index = (uint64_t)i * N_THREADS + w->number;

		if (qcow2_pwrite(w->f->img, page, sizeof(page), index * CLUSTER,
				 0, NULL) < 0)
			return w;
	}
	return NULL;
}

static void write_by_threads(struct fixture *f)
{
	struct worker workers[N_THREADS];
	pthread_t threads[N_THREADS];

	for (unsigned i = 0; i < N_THREADS; i++) {
		workers[i] = (struct worker){ f, i };
		ok(pthread_create(&threads[i], NULL, write_on, &workers[i]));
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

TEST_WITH(many_writers_pass_a_threshold_once, setup, teardown)
{
	struct fixture *f = *state;

	f->goal = (uint64_t)DISK_CLUSTERS / 2 * CLUSTER;
	ok(qcow2_set_event_fn(f->img, hear, f, release, NULL));
	ok(qcow2_set_write_threshold(f->img, f->goal, NULL));
	write_by_threads(f);
	assert_int_equal(f->n, 1);
}

/* Set again in the function, one after the other is told. */
TEST_WITH(a_threshold_can_go_before_the_writers, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s = QCOW2_STATS_INIT;
	uint64_t first = (uint64_t)DISK_CLUSTERS / 16 * CLUSTER;

	f->goal = f->step = first;
	ok(qcow2_set_event_fn(f->img, hear, f, NULL, NULL));
	ok(qcow2_set_write_threshold(f->img, first, NULL));
	write_by_threads(f);
	ok(qcow2_get_stats(f->img, 0, &s, NULL));
	assert_int_equal(f->n, (s.allocated_end - 1) / first);
	assert_true(f->n >= 16);
}

struct switcher {
	struct fixture *f;
	_Atomic bool done;
};

static void *switch_on(void *arg)
{
	struct switcher *s = arg;

	while (!s->done)
		qcow2_set_event_fn(s->f->img, hear, s->f, release, NULL);
	return NULL;
}

TEST_WITH(functions_come_and_go_beside_writers, setup, teardown)
{
	struct fixture *f = *state;
	struct switcher s = { .f = f };
	pthread_t thread;

	ok(qcow2_set_event_fn(f->img, hear, f, release, NULL));
	f->goal = (uint64_t)DISK_CLUSTERS / 2 * CLUSTER;
	ok(qcow2_set_write_threshold(f->img, f->goal, NULL));
	ok(pthread_create(&thread, NULL, switch_on, &s));
	write_by_threads(f);
	s.done = true;
	pthread_join(thread, NULL);
	assert_int_equal(f->n, 1);
}
