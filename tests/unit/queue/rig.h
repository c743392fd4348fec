/*
 * A queue over a disk in memory, by a ring that the test steers or without one,
 * whose store counts its calls, can hold them, and can fail them.
 */
#ifndef UNIT_QUEUE_RIG_H
#define UNIT_QUEUE_RIG_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "stores/count.h"
#include "stores/fault.h"
#include "stores/ring.h"
#include "stores/schedule.h"
#include "support/test.h"

enum {
	RIG_DEPTH = 16,
	RIG_BYTES = 65536,     /* of each request at most; a cluster */
	RIG_WRITTEN = 4 << 20, /* bytes of the disk that are allocated */
	RIG_DISK = 16 << 20,
};

struct queue_rig {
	struct qcow2_store *store; /* named "file" for holds */
	struct count count;
	struct fault_injector fault;
	struct sched *sched;
	struct qcow2_image *img;
	struct qcow2_pool *pool; /* NULL: no workers */
	struct test_ring *ring;  /* NULL: none */
	struct qcow2_queue *q;
	uint8_t bufs[RIG_DEPTH][RIG_BYTES];
	struct iovec iov[RIG_DEPTH];
};

struct queue_rig *rig_new(uint32_t n_threads, bool with_ring);
/* Checks the image too. */
void rig_free(struct queue_rig *t);

/* Submits one about [off, off + len), with buffer number @i, which is its
 * user_data; a write has the byte i + 1 everywhere. */
void rig_submit(struct queue_rig *t, uint32_t op, uint32_t flags, uint64_t len,
		uint64_t off, unsigned i);
/* Reaps one: waits for it, and expects @rc. */
void rig_expect(struct queue_rig *t, unsigned i, int rc);
/* Reaps without waiting: how many came. */
uint32_t rig_reap(struct queue_rig *t);
/* Whether poll() would say that the eventfd is readable. */
bool rig_is_readable(struct queue_rig *t);
/* The 8 bytes. */
void rig_read_fd(struct queue_rig *t);
/* The disk has @byte in [off, off + len). */
void rig_expect_bytes(struct queue_rig *t, uint8_t byte, uint64_t len,
		      uint64_t off);
struct qcow2_queue_info rig_info(struct queue_rig *t);

#endif
