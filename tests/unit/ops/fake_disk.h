/*
 * A disk for tests: extents and bytes as the test wants them, failures where
 * it wants them, and a record of the calls.  Stands in for chain/ at link time.
 */
#ifndef FAKE_DISK_H
#define FAKE_DISK_H

#include <pthread.h>
#include <stdatomic.h>

#include "chain/disk.h"
#include "support/test.h"

#define FAKE_NOWHERE UINT64_MAX

struct disk {
	uint64_t size;
	uint32_t cluster_size;
	uint8_t *bytes;               /* address space only where untouched */
	struct qcow2_extent *extents; /* without gaps, to the end */
	size_t n_extents;
	struct qcow2_store *store; /* of extents with HOST_OFF, or NULL */
	uint64_t fail_read_off;    /* reads that touch this byte fail */
	uint64_t fail_map_off;
	bool has_to_wait; /* reads with QCOW2_NOWAIT say so */

	atomic_uint n_reads;
	atomic_uint n_maps;
	pthread_mutex_t lock;    /* guards the record below */
	const void *buffers[64]; /* where reads went, each once */
	unsigned n_buffers;
	uint64_t largest_read;
	uint8_t *cluster_reads; /* times each cluster was read, or NULL */
};

struct disk *fake_new(uint32_t cluster_size);
void fake_free(struct disk *d);

#define FAKE_HOLE QCOW2_EXTENT_ZERO
#define FAKE_ZERO (QCOW2_EXTENT_ZERO | QCOW2_EXTENT_PRESENT)
#define FAKE_DATA (QCOW2_EXTENT_DATA | QCOW2_EXTENT_PRESENT)
#define FAKE_COMPRESSED (FAKE_DATA | QCOW2_EXTENT_COMPRESSED)

/* Appends an extent; data reads as bytes that are never 0. */
void fake_add(struct disk *d, uint64_t len, uint32_t flags);

/* Appends extents of random kinds and lengths, in sectors, until the disk has
 * @size bytes; data has runs of zeros in it. */
void fake_add_random(struct disk *d, struct test_rng *r, uint64_t size);

/* Counts in d->cluster_reads from now on. */
void fake_count_clusters(struct disk *d);

#endif
