/*
 * A store for tests that remembers what was done to each sector, and can be of
 * fixed size, full of garbage, unable to zero, or out of space.
 */
#ifndef SINK_H
#define SINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#define SINK_BYTES (64 * 1024 * 1024)
#define SINK_SECTORS (SINK_BYTES / 512)

enum sink_state {
	SINK_UNTOUCHED = 0,
	SINK_WRITTEN = 1,
	SINK_ZEROED = 2,
	SINK_UNMAPPED = 3,
};

struct sink {
	pthread_mutex_t lock;
	uint64_t size;
	bool fixed_size;
	bool keeps_quiet;     /* truncate of a device: succeeds, no effect */
	bool cannot_zero;     /* not without writing */
	bool cannot_zero_all; /* only smaller ranges than the whole */
	uint64_t full_off;    /* writes past it fail with -ENOSPC */
	unsigned n_writes;
	unsigned n_zeros;
	unsigned n_flushes;
	unsigned n_truncates;
	uint8_t *bytes;
	uint8_t *state; /* enum sink_state per sector */
};

void sink_init(struct sink *s, struct qcow2_store **store);
/* Of fixed size, and full of garbage. */
void sink_init_device(struct sink *s, uint64_t size,
		      struct qcow2_store **store);
void sink_release(struct sink *s, struct qcow2_store *store);

#endif
