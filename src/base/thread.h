/*
 * Threads of the library's own, and telling the caller's apart.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Signals are for the caller's threads: all are blocked in the new one. */
static inline bool thread_start(pthread_t *thread, void *(*fn)(void *arg),
				void *arg)
{
	sigset_t every, before;
	int rc;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	rc = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc == 0;
}

/* A number by which threads spread over slots, so that they seldom share a
 * cache line: the same for a thread as long as it runs. */
static inline unsigned thread_spread(void)
{
	uint64_t id = (uint64_t)(uintptr_t)pthread_self();

	return (unsigned)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

#endif
