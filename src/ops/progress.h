/*
 * Telling the caller how far a job is, and hearing whether to go on.
 *
 * Workers add what they have done at any time; the caller's function runs on
 * one thread at a time, with numbers that never fall.  A worker that finds it
 * running does not wait for it.
 */
#ifndef OPS_PROGRESS_H
#define OPS_PROGRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"

struct progress {
	qcow2_progress_fn *fn; /* NULL: nobody wants to know */
	void *opaque;
	uint64_t total;
	_Atomic uint64_t done;
	pthread_mutex_t lock; /* held while fn runs; guards shown */
	uint64_t shown;       /* what fn was told last */
};

/* The caller must hold p->lock. */
VALIDATOR(progress);

void progress_init(struct progress *p, qcow2_progress_fn *fn, void *opaque,
		   uint64_t total);
void progress_release(struct progress *p);

/* Both return -ECANCELED when the caller's function says so. */
int progress_add(struct progress *p, uint64_t done_bytes,
		 struct qcow2_error *err);
/* All is done; no worker is running. */
int progress_finish(struct progress *p, struct qcow2_error *err);

#endif
