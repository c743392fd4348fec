#include "ops/progress.h"

#include <assert.h>
#include <errno.h>

#include "base/cleanup.h"
#include "base/error.h"

void progress_validate(const struct progress *p)
{
	assert(p->shown <= p->total);
	assert(atomic_load(&p->done) <= p->total);
}

void progress_init(struct progress *p, qcow2_progress_fn *fn, void *opaque,
		   uint64_t total)
{
	p->fn = fn;
	p->opaque = opaque;
	p->total = total;
	atomic_init(&p->done, 0);
	pthread_mutex_init(&p->lock, NULL);
	p->shown = 0;
}

void progress_release(struct progress *p)
{
	pthread_mutex_destroy(&p->lock);
}

/* Under the lock. */
static int progress_show(struct progress *p, uint64_t done,
			 struct qcow2_error *err)
{
	VALIDATE(progress, p);
	assert(done >= p->shown && done <= p->total);
	p->shown = done;
	if (p->fn(p->opaque, done, p->total))
		return error_set(err, -ECANCELED, "stopped by the caller");
	return 0;
}

int progress_add(struct progress *p, uint64_t done_bytes,
		 struct qcow2_error *err)
{
	int rc;

	atomic_fetch_add(&p->done, done_bytes);
	if (!p->fn || pthread_mutex_trylock(&p->lock))
		return 0;
	rc = progress_show(p, atomic_load(&p->done), err);
	mutex_unlock(&p->lock);
	return rc;
}

int progress_finish(struct progress *p, struct qcow2_error *err)
{
	if (!p->fn)
		return 0;
	SCOPED_LOCK(&p->lock);
	return progress_show(p, p->total, err);
}
