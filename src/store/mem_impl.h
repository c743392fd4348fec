/*
 * The inside of a memory store, for mem.c only.
 */
#ifndef STORE_MEM_IMPL_H
#define STORE_MEM_IMPL_H

#include <pthread.h>
#include <stdint.h>

#include "base/validate.h"
#include "store/pages.h"

struct mem {
	pthread_rwlock_t lock; /* guards all below */
	struct pages pages;
	uint64_t size;
};

/* The caller must hold the lock. */
VALIDATOR(mem);

#endif
