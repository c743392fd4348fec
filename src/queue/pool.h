/*
 * Worker threads for requests that have to wait.  Any number of queues give
 * them jobs, which they take in the order given.
 */
#ifndef QUEUE_POOL_H
#define QUEUE_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/process.h"
#include "base/validate.h"

/* Part of what is to be done. */
struct pool_job {
	struct pool_job *next;
	void (*run)(struct pool_job *job);
};

struct qcow2_pool {
	struct process_mark mark; /* of the process that made it */
	uint32_t n_threads;
	pthread_t *threads;
	pthread_mutex_t lock; /* protects what follows */
	pthread_cond_t work;
	struct pool_job *first;
	struct pool_job *last; /* of the list, if there is a first */
	bool stop;
};

/* The caller must hold the lock. */
VALIDATOR(qcow2_pool);

/* Starts @n_threads threads, 1 or more. */
int pool_new(uint32_t n_threads, struct qcow2_pool **out,
	     struct qcow2_error *err);
/* No job may be left.  Does nothing in a child of the process that made it.
 * NULL is fine. */
void pool_free(struct qcow2_pool *pool);

void pool_add(struct qcow2_pool *pool, struct pool_job *job);
/* True when no worker had begun it, and none will. */
bool pool_take_back(struct qcow2_pool *pool, struct pool_job *job);

#endif
