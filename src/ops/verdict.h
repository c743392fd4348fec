/*
 * The result of a comparison so far: the event at the smallest offset.
 *
 * Workers find differences and failed reads in any order; the one that comes
 * first on the disk is the answer, so that it does not depend on the number of
 * threads.  The bytes behind it need not be compared any more.
 */
#ifndef OPS_VERDICT_H
#define OPS_VERDICT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"

/* One event: a difference, or the failure of one of the images. */
struct event {
	uint64_t off;
	enum qcow2_difference difference;
	uint32_t failed_image; /* 1 or 2; 0: it is a difference */
	int rc;                /* of the failure */
	struct qcow2_error err;
};

struct verdict {
	_Atomic uint64_t first_off; /* of the event; UINT64_MAX: none so far */
	pthread_mutex_t lock;       /* guards the event and changes above */
	struct event event;
};

/* The caller must hold v->lock. */
VALIDATOR(verdict);

void verdict_init(struct verdict *v);
void verdict_release(struct verdict *v);

void verdict_add(struct verdict *v, const struct event *event);

/* True when nothing at @off or behind it can change the answer. */
static inline bool verdict_covers(const struct verdict *v, uint64_t off)
{
	return off >= atomic_load_explicit(&v->first_off, memory_order_relaxed);
}

#endif
