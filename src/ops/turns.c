#include "ops/turns.h"

#include <assert.h>

#include "base/cleanup.h"

void turns_init(struct turns *t)
{
	*t = (struct turns){ .now = 0 };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->passed, NULL);
}

void turns_release(struct turns *t)
{
	pthread_cond_destroy(&t->passed);
	pthread_mutex_destroy(&t->lock);
}

bool turns_wait(struct turns *t, uint64_t number)
{
	SCOPED_LOCK(&t->lock);

	/* A turn that was passed does not come again. */
	assert(number >= t->now || t->stopped);
	while (t->now != number && !t->stopped)
		pthread_cond_wait(&t->passed, &t->lock);
	return !t->stopped;
}

void turns_pass(struct turns *t)
{
	SCOPED_LOCK(&t->lock);

	t->now++;
	pthread_cond_broadcast(&t->passed);
}

void turns_stop(struct turns *t)
{
	SCOPED_LOCK(&t->lock);

	t->stopped = true;
	pthread_cond_broadcast(&t->passed);
}
