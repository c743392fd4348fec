/*
 * The requests of one kind that were made of an image or of a layer, and how
 * long they took, for qcow2_get_stats().
 *
 * All zeros is a kind of which nothing was asked yet.
 */
#ifndef CHAIN_REQUESTS_H
#define CHAIN_REQUESTS_H

#include <stdatomic.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/tally.h"

/* Several slots of the tally share these, so that an image with small tables
 * stays small. */
enum { REQUEST_TIMES = TALLY_SLOTS / 4 };

struct request_times {
	_Atomic uint64_t ns_max;
	_Atomic uint64_t n_in_step[QCOW2_LATENCY_STEPS];
	uint8_t apart[TALLY_APART_BYTES];
};

struct requests {
	struct tally done;
	struct request_times times[REQUEST_TIMES];
	_Atomic uint64_t failed;
	_Atomic uint64_t again;
};

/* A moment, in nanoseconds since some other one. */
uint64_t requests_clock(void);

/* One request of @len bytes that began at @began_ns has ended with @rc, which
 * is returned. */
int requests_count(struct requests *r, int rc, uint64_t len, uint64_t began_ns);

void requests_get(const struct requests *r, struct qcow2_request_stats *out);

#endif
