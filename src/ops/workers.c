#include "ops/workers.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/process.h"
#include "base/thread.h"

struct worker {
	struct workers *pool;
	pthread_t thread;
	unsigned index;
};

void workers_validate(const struct workers *w)
{
	unsigned n_awake = atomic_load(&w->n_awake);

	assert(w->n >= 1);
	assert(n_awake >= 1 && n_awake <= w->n);
	assert(w->rc <= 0);
	/* "Another one failed": all are told, and none begins. */
	assert(implies(w->rc, workers_stopped(w)));
}

static unsigned n_processors(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return online > 0 ? (unsigned)min_u64((uint64_t)online, UINT32_MAX) : 1;
}

unsigned workers_count(uint32_t wish, uint64_t n_pieces)
{
	uint64_t n = wish ? wish : n_processors();

	return (unsigned)max_u64(min_u64(n, n_pieces), 1);
}

void workers_wake(struct workers *w)
{
	if (!process_mark_is_here(&w->here))
		return;
	SCOPED_LOCK(&w->lock);
	SCOPED_VALIDATE(workers, w);
	if (!workers_sleep(w))
		return;
	atomic_fetch_add_explicit(&w->n_awake, 1, memory_order_relaxed);
	pthread_cond_broadcast(&w->wake);
}

/* False when the job ended before this one was needed. */
static bool worker_wait(struct worker *worker)
{
	struct workers *w = worker->pool;

	SCOPED_LOCK(&w->lock);
	VALIDATE(workers, w);
	while (worker->index >= w->n_awake && !w->ended)
		pthread_cond_wait(&w->wake, &w->lock);
	return worker->index < w->n_awake;
}

static void note_failure(struct workers *w, int rc,
			 const struct qcow2_error *err)
{
	assert(rc <= 0);
	if (rc == 0 || w->rc)
		return;
	w->rc = rc;
	w->err = *err;
}

static void worker_end(struct workers *w, int rc, const struct qcow2_error *err)
{
	if (rc < 0)
		atomic_store_explicit(&w->stop, true, memory_order_relaxed);
	if (!process_mark_is_here(&w->here)) {
		note_failure(w, rc, err);
		return;
	}
	SCOPED_LOCK(&w->lock);
	SCOPED_VALIDATE(workers, w);
	note_failure(w, rc, err);
	w->ended = true;
	pthread_cond_broadcast(&w->wake);
}

static void worker_work(struct worker *worker)
{
	struct workers *w = worker->pool;
	struct qcow2_error err = { 0 };

	if (worker_wait(worker))
		worker_end(w, w->fn(w, worker->index, w->opaque, &err), &err);
}

static void *worker_main(void *opaque)
{
	worker_work(opaque);
	return NULL;
}

/* Starts all workers but number 0; returns how many there are with it. */
static unsigned workers_start(struct workers *w, struct worker *all, unsigned n)
{
	unsigned started = 1;

	all[0] = (struct worker){ .pool = w };
	for (; started < n; started++) {
		struct worker *worker = &all[started];

		*worker = (struct worker){ .pool = w, .index = started };
		if (!thread_start(&worker->thread, worker_main, worker))
			break;
	}
	return started;
}

/* In a child there is nobody to wait for; and destroying a condition waits for
 * those who wait for it. */
static void workers_join(struct workers *w, struct worker *list, unsigned n)
{
	if (!process_mark_is_here(&w->here))
		return;
	for (unsigned i = 1; i < n; i++)
		pthread_join(list[i].thread, NULL);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
}

int workers_run(unsigned n, bool all, workers_fn *fn, void *opaque,
		struct qcow2_error *err)
{
	struct workers w = { .fn = fn, .opaque = opaque, .n = n };
	struct worker self = { 0 };
	struct worker *list = &self;
	CLEANUP_FREE struct worker *many = NULL;

	assert(n >= 1);
	process_mark_init(&w.here);
	pthread_mutex_init(&w.lock, NULL);
	if (n > 1)
		many = calloc(n, sizeof(*many));
	if (many)
		list = many;
	pthread_cond_init(&w.wake, NULL);
	atomic_init(&w.n_awake, all ? n : (unsigned)min_u64(n, n_processors()));
	n = workers_start(&w, list, many ? n : 1);
	worker_work(&list[0]);
	workers_join(&w, list, n);
	process_mark_release(&w.here);
	if (w.rc < 0 && err)
		*err = w.err;
	return w.rc;
}
