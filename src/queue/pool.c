#include "queue/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/thread.h"

void qcow2_pool_validate(const struct qcow2_pool *pool)
{
	const struct pool_job *last = NULL;

	assert(pool->n_threads > 0);
	for (const struct pool_job *j = pool->first; j; j = j->next) {
		assert(j->run);
		last = j;
	}
	assert(implies(last, last == pool->last));
}

/* With the lock held, waits for a job; NULL when there will be no more. */
static struct pool_job *pool_next(struct qcow2_pool *pool)
{
	struct pool_job *job;

	while (!pool->first && !pool->stop)
		pthread_cond_wait(&pool->work, &pool->lock);
	VALIDATE(qcow2_pool, pool);
	job = pool->first;
	if (job)
		pool->first = job->next;
	return job;
}

static void *pool_work(void *arg)
{
	struct qcow2_pool *pool = arg;
	struct pool_job *job;

	mutex_lock(&pool->lock);
	while ((job = pool_next(pool))) {
		mutex_unlock(&pool->lock);
		job->run(job);
		mutex_lock(&pool->lock);
	}
	mutex_unlock(&pool->lock);
	return NULL;
}

static void pool_stop(struct qcow2_pool *pool, uint32_t n_threads)
{
	mutex_lock(&pool->lock);
	assert(!pool->first);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	mutex_unlock(&pool->lock);
	for (uint32_t i = 0; i < n_threads; i++)
		pthread_join(pool->threads[i], NULL);
}

static void pool_release(struct qcow2_pool *pool)
{
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	process_mark_release(&pool->mark);
	free(pool->threads);
	free(pool);
}

static int pool_start(struct qcow2_pool *pool, struct qcow2_error *err)
{
	for (uint32_t i = 0; i < pool->n_threads; i++) {
		if (thread_start(&pool->threads[i], pool_work, pool))
			continue;
		pool_stop(pool, i);
		return error_set(err, -EAGAIN,
				 "the host gives no thread for a worker");
	}
	return 0;
}

int pool_new(uint32_t n_threads, struct qcow2_pool **out,
	     struct qcow2_error *err)
{
	struct qcow2_pool *pool = calloc(1, sizeof(*pool));
	pthread_t *threads = calloc(n_threads, sizeof(*threads));
	int rc;

	assert(n_threads > 0);
	if (!pool || !threads) {
		free(pool);
		free(threads);
		return error_nomem(err, "a pool of workers", sizeof(*pool));
	}
	pool->n_threads = n_threads;
	pool->threads = threads;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	process_mark_init(&pool->mark);
	rc = pool_start(pool, err);
	if (rc < 0)
		pool_release(pool);
	else
		*out = pool;
	return rc;
}

void pool_free(struct qcow2_pool *pool)
{
	if (!pool || !process_mark_is_here(&pool->mark))
		return;
	pool_stop(pool, pool->n_threads);
	pool_release(pool);
}

void pool_add(struct qcow2_pool *pool, struct pool_job *job)
{
	SCOPED_LOCK(&pool->lock);
	SCOPED_VALIDATE(qcow2_pool, pool);

	job->next = NULL;
	if (pool->first)
		pool->last->next = job;
	else
		pool->first = job;
	pool->last = job;
	pthread_cond_signal(&pool->work);
}

bool pool_take_back(struct qcow2_pool *pool, struct pool_job *job)
{
	struct pool_job *before = NULL;
	SCOPED_LOCK(&pool->lock);
	SCOPED_VALIDATE(qcow2_pool, pool);

	for (struct pool_job *j = pool->first; j; before = j, j = j->next) {
		if (j != job)
			continue;
		if (before)
			before->next = j->next;
		else
			pool->first = j->next;
		if (pool->last == j)
			pool->last = before;
		return true;
	}
	return false;
}
