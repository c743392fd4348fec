/*
 * A store in memory whose copies share pages until one of them writes, and
 * that knows a hash of its contents.  For one thread: the crash enumerator
 * copies an image some hundred thousand times a minute.
 */
#ifndef CRASH_COWSTORE_H
#define CRASH_COWSTORE_H

#include <stdint.h>

#include <qcow2.h>

struct qcow2_store *cow_new(void);
struct qcow2_store *cow_clone(struct qcow2_store *src);

/* Contents and size; pages of zeros and holes are the same. */
uint64_t cow_hash(struct qcow2_store *store);

uint64_t cow_size(struct qcow2_store *store);

/* One step of a good 64-bit mixer. */
static inline uint64_t hash_mix(uint64_t h, uint64_t v)
{
	uint64_t z = (h ^ v) + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

#endif
