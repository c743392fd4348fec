/*
 * The requests that callers made of an image, counted for qcow2_get_stats().
 */
#ifndef API_REQUESTS_H
#define API_REQUESTS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/tally.h"

enum request_kind {
	REQUEST_READ,
	REQUEST_WRITE,
	REQUEST_ZERO,
	REQUEST_DISCARD,
	REQUEST_WRITE_COMPRESSED,
	REQUEST_FLUSH,
	REQUEST_KINDS,
};

/* Kinds in one tally: a number and its bytes each. */
#define REQUEST_TALLY_KINDS (TALLY_NUMBERS / 2)

struct requests {
	struct tally done[2];
	_Atomic uint64_t failed[REQUEST_KINDS];
	_Atomic uint64_t again[REQUEST_KINDS];
};

/* One request of @len bytes has ended with @rc, which is returned. */
static inline int requests_count(struct requests *r, int rc,
				 enum request_kind kind, uint64_t len)
{
	if (rc == 0)
		tally_count(&r->done[kind / REQUEST_TALLY_KINDS],
			    kind % REQUEST_TALLY_KINDS * 2, len);
	else if (rc == -EAGAIN)
		atomic_fetch_add_explicit(&r->again[kind], 1,
					  memory_order_relaxed);
	else if (rc != -EINVAL)
		atomic_fetch_add_explicit(&r->failed[kind], 1,
					  memory_order_relaxed);
	return rc;
}

#endif
