/*
 * A store that counts: how many calls, how many bytes, by operation.
 */
#ifndef STORES_COUNT_H
#define STORES_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

#include <qcow2.h>

#include "stores/hook.h"

/* Owned by the test, outlives the stores that count into it. */
struct count {
	atomic_uint_fast64_t calls[STORE_N_OPS];
	atomic_uint_fast64_t bytes[STORE_N_OPS];
};

/* @c starts as all zeros; several stores may share it. */
int count_store_new(struct count *c, struct qcow2_store *inner,
		    struct qcow2_store **out);

#endif
