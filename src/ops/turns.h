/*
 * Turns of workers: those that hold numbered work wait until all with smaller
 * numbers have passed.
 */
#ifndef OPS_TURNS_H
#define OPS_TURNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct turns {
	pthread_mutex_t lock; /* guards what follows; a leaf */
	pthread_cond_t passed;
	uint64_t now;
	bool stopped;
};

void turns_init(struct turns *t);
void turns_release(struct turns *t);

/* Waits for the turn of @number; false when it will never come. */
bool turns_wait(struct turns *t, uint64_t number);
/* Ends the turn that the caller has. */
void turns_pass(struct turns *t);
/* No turn comes any more; for a worker that leaves without having its own. */
void turns_stop(struct turns *t);

#endif
