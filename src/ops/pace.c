#include "ops/pace.h"

#include <assert.h>

#define NS_PER_SEC 1000000000
#define NAP_SEC 0.1 /* so soon is a wish to stop heard */

void pace_init(struct pace *p, uint64_t bytes_per_sec)
{
	p->bytes_per_sec = bytes_per_sec;
	atomic_init(&p->bytes, 0);
	clock_gettime(CLOCK_MONOTONIC, &p->begin);
}

static double passed_sec(const struct pace *p)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - p->begin.tv_sec) +
	       (double)(now.tv_nsec - p->begin.tv_nsec) / NS_PER_SEC;
}

void pace_validate(const struct pace *p)
{
	assert(implies(!p->bytes_per_sec, !atomic_load(&p->bytes)));
	assert(p->begin.tv_nsec >= 0 && p->begin.tv_nsec < NS_PER_SEC);
	/* It has begun. */
	assert(passed_sec(p) >= 0);
}

static void nap(double sec)
{
	struct timespec t = {
		.tv_nsec = (long)((sec < NAP_SEC ? sec : NAP_SEC) * NS_PER_SEC)
	};

	/* A signal may be a wish to stop: no sleeping on. */
	nanosleep(&t, NULL);
}

int pace_add(struct pace *p, uint64_t bytes, const struct workers *w,
	     struct progress *progress, struct qcow2_error *err)
{
	double due;
	double left;
	int rc = 0;

	VALIDATE(pace, p);
	if (!p->bytes_per_sec)
		return 0;
	due = (double)(atomic_fetch_add(&p->bytes, bytes) + bytes) /
	      (double)p->bytes_per_sec;
	while (rc == 0 && !workers_stopped(w) &&
	       (left = due - passed_sec(p)) > 0) {
		nap(left);
		rc = progress_add(progress, 0, err);
	}
	VALIDATE(pace, p);
	return rc;
}
