/*
 * The inside of a store, for store.c, call.c, transfer.c and hold.c only.
 */
#ifndef STORE_STORE_IMPL_H
#define STORE_STORE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/process.h"
#include "base/tally.h"
#include "base/validate.h"

struct transfer_ops;

/* Numbers of qcow2_store.done; bytes follow what they are of. */
enum store_number {
	STORE_READS,
	STORE_READ_BYTES,
	STORE_WRITES,
	STORE_WRITE_BYTES,
	STORE_ZEROES,
	STORE_ZERO_BYTES,
	STORE_FLUSHES,
	STORE_FAILED,
};

struct qcow2_store {
	/* These never change. */
	struct qcow2_store_ops ops;
	void *self;
	char *name;
	char label[80]; /* the name for messages: escaped, its end if long */
	bool read_only;
	struct process_mark mark; /* of the process that made it */
	/* In a child of that process, instead of ops.close; NULL: nothing. */
	void (*abandon)(void *self);
	const struct transfer_ops *transfer; /* NULL: no descriptor for it */

	atomic_uint n_refs;

	pthread_mutex_t hold_lock; /* guards the holders (hold.h): */
	uint32_t n_readers;
	bool has_writer;  /* then n_readers is 0 */
	bool is_locked;   /* the operation has a lock to give back */
	bool is_unlocked; /* held without a lock: the host has none */

	struct tally done; /* by enum store_number; needs no lock */
};

/* call.c */

/* The end of everything that a store does with bytes: it is counted as one call
 * of @kind and @len bytes.  Returns @rc. */
int call_count(struct qcow2_store *s, int rc, enum store_number kind,
	       uint64_t len);
/* "cannot @what so many bytes"; returns @rc. */
int call_fail_range(const struct qcow2_store *s, int rc, const char *what,
		    uint64_t len, uint64_t off, const char *why,
		    struct qcow2_error *err);

/* hold.c: the caller must hold hold_lock. */
void holders_validate(const struct qcow2_store *s);

#endif
