/*
 * A job that is not to go faster than the caller said.
 */
#ifndef OPS_PACE_H
#define OPS_PACE_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "base/validate.h"
#include "ops/progress.h"
#include "ops/workers.h"

struct pace {
	uint64_t bytes_per_sec; /* 0: as fast as it goes */
	struct timespec begin;
	_Atomic uint64_t bytes; /* counted so far; 0 without a rate */
};

/* Other threads may count meanwhile. */
VALIDATOR(pace);

void pace_init(struct pace *p, uint64_t bytes_per_sec);

/* Counts @bytes and waits until there has been time enough for all that were
 * counted; less when the job is stopped.  The caller's progress function is
 * asked meanwhile whether to go on: -ECANCELED. */
int pace_add(struct pace *p, uint64_t bytes, const struct workers *w,
	     struct progress *progress, struct qcow2_error *err);

#endif
