#include "ops/workers.h"

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

unsigned workers_count(uint32_t wish, uint64_t n_pieces)
{
	uint64_t n = wish;

	if (!n) {
		long online = sysconf(_SC_NPROCESSORS_ONLN);

		n = online > 0 ? (uint64_t)online : 1;
	}
	return (unsigned)max_u64(min_u64(n, n_pieces), 1);
}

static void worker_work(struct worker *worker)
{
	struct workers *w = worker->pool;
	struct qcow2_error err = { 0 };
	int rc = w->fn(w, worker->index, w->opaque, &err);

	if (rc == 0)
		return;
	atomic_store_explicit(&w->stop, true, memory_order_relaxed);
	SCOPED_LOCK(&w->lock);
	if (w->rc == 0) {
		w->rc = rc;
		w->err = err;
	}
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

int workers_run(unsigned n, workers_fn *fn, void *opaque,
		struct qcow2_error *err)
{
	struct workers w = { .fn = fn, .opaque = opaque };
	struct worker self = { 0 };
	struct worker *all = &self;
	CLEANUP_FREE struct worker *many = NULL;
	struct process_mark here;

	process_mark_init_by_id(&here);
	pthread_mutex_init(&w.lock, NULL);
	if (n > 1)
		many = calloc(n, sizeof(*many));
	if (many)
		all = many;
	n = workers_start(&w, all, many ? n : 1);
	worker_work(&all[0]);
	/* A child, forked by a function of the caller, has no threads. */
	for (unsigned i = 1; i < n && process_mark_is_here(&here); i++)
		pthread_join(all[i].thread, NULL);
	pthread_mutex_destroy(&w.lock);
	if (w.rc < 0 && err)
		*err = w.err;
	return w.rc;
}
