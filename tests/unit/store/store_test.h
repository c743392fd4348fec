/*
 * What the tests of the stores share.
 */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

static inline struct rng rng_seeded(void)
{
	const char *s = getenv("TEST_SEED");
	struct rng r = { s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL) };

	printf("TEST_SEED=%llu\n", (unsigned long long)r.state);
	return r;
}

/* A name in @dir that no other test uses; nothing is created. */
static inline void temp_name(char *path, size_t size, const char *dir)
{
	static unsigned n;

	snprintf(path, size, "%s/store-test-%d-%u.tmp", dir, (int)getpid(),
		 n++);
}

#endif
