/*
 * Scope-bound release: memory and locks leave with the block that took them.
 *
 *	CLEANUP_FREE uint8_t *buf = malloc(len);
 *	SCOPED_LOCK(&cache->lock);
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

#define CLEANUP_FREE CLEANUP(cleanup_free)

static inline void mutex_lock(pthread_mutex_t *lock)
{
	int rc = pthread_mutex_lock(lock);

	assert(rc == 0);
}

static inline void mutex_unlock(pthread_mutex_t *lock)
{
	int rc = pthread_mutex_unlock(lock);

	assert(rc == 0);
}

static inline void cleanup_unlock(pthread_mutex_t **lock)
{
	mutex_unlock(*lock);
}

#define SCOPED_LOCK_NAME2(line) scoped_lock_##line
#define SCOPED_LOCK_NAME(line) SCOPED_LOCK_NAME2(line)
#define SCOPED_LOCK(mutex)                                     \
	CLEANUP(cleanup_unlock)                                \
	pthread_mutex_t *SCOPED_LOCK_NAME(__LINE__) = (mutex); \
	mutex_lock(SCOPED_LOCK_NAME(__LINE__))

#endif
