/*
 * Threads of the library's own.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

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

#endif
