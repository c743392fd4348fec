/*
 * shifting DIR: images whose bytes change between one read and the next, as a
 * hostile FUSE file system or block device would do it.  The library may trust
 * no bytes because they were right when it read them before.
 *
 * The store keeps an image and mutates one of its fields before each n-th read,
 * sometimes fails a read, and sometimes changes its own size.
 */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bases.h"
#include "exercise.h"

#define ITERATIONS_DEFAULT 20000

struct shifting {
	const struct base *base;
	uint8_t *bytes;
	struct rng rng;
	unsigned period; /* one read in so many finds changed bytes */
	uint64_t size;
};

static void copy_out(const struct shifting *s, const struct iovec *iov,
		     int iovcnt, uint64_t off)
{
	for (int i = 0; i < iovcnt; i++) {
		size_t n = 0;

		if (off < s->base->len)
			n = s->base->len - off < iov[i].iov_len
				    ? s->base->len - off
				    : iov[i].iov_len;
		if (n)
			memcpy(iov[i].iov_base, s->bytes + off, n);
		memset((uint8_t *)iov[i].iov_base + n, 0, iov[i].iov_len - n);
		off += iov[i].iov_len;
	}
}

static int shifting_preadv(void *self, const struct iovec *iov, int iovcnt,
			   uint64_t off, unsigned flags,
			   struct qcow2_error *err)
{
	struct shifting *s = self;

	(void)flags, (void)err;
	if (rng_below(&s->rng, s->period) == 0)
		mutate_field(s->base, s->bytes, &s->rng);
	if (rng_below(&s->rng, 16 * s->period) == 0)
		memcpy(s->bytes, s->base->bytes, s->base->len);
	if (rng_below(&s->rng, 16 * s->period) == 0)
		return -EIO;
	copy_out(s, iov, iovcnt, off);
	return 0;
}

static int shifting_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct shifting *s = self;

	(void)err;
	if (rng_below(&s->rng, 4 * s->period) == 0)
		s->size = rng_below(&s->rng, 3) ? s->base->len
						: rng_next(&s->rng) >> 1;
	*size = s->size;
	return 0;
}

static const struct qcow2_store_ops shifting_ops = {
	.struct_size = sizeof(shifting_ops),
	.preadv = shifting_preadv,
	.size = shifting_size,
};

static void one(const struct bases *all, uint64_t seed, struct tally *tally,
		uint64_t *opened)
{
	static const unsigned periods[] = { 1, 2, 5, 20, 100 };
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct shifting s = { .rng = { seed | 1 } };
	struct qcow2_store *store;
	struct qcow2_error error;

	rng_next(&s.rng);
	s.base = &all->list[rng_below(&s.rng, all->n)];
	s.period = periods[rng_below(&s.rng, 5)];
	s.size = s.base->len;
	s.bytes = malloc(s.base->len);
	if (!s.bytes)
		err(1, "memory");
	memcpy(s.bytes, s.base->bytes, s.base->len);
	if (qcow2_store_new(&shifting_ops, &s, &store, &error) < 0)
		errx(1, "%s", error.message);
	opts.flags = QCOW2_OPEN_NO_BACKING;
	/* The smallest caches read the most often. */
	opts.l2_cache_bytes = 1024;
	opts.l2_slice_bytes = 512;
	if (exercise_store(store, &opts, tally) == 0)
		++*opened;
	qcow2_store_unref(store);
	free(s.bytes);
}

int main(int argc, char **argv)
{
	const char *text = getenv("HOSTILE_ITERATIONS");
	uint64_t n = text ? strtoull(text, NULL, 0) : ITERATIONS_DEFAULT;
	uint64_t seed = seed_get(), opened = 0;
	struct rng seeds = { 2 * seed + 1 };
	struct tally tally = { 0 };
	struct bases all;

	if (argc != 2)
		errx(64, "usage: shifting DIR");
	bases_load(&all, argv[1]);
	printf("TEST_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	for (uint64_t i = 0; i < n || n == 0; i++) {
		alarm(20);
		one(&all, rng_next(&seeds), &tally, &opened);
	}
	printf("%" PRIu64 " opened, %lu calls, %lu failed\n", opened,
	       tally.calls, tally.failed);
	bases_free(&all);
	return 0;
}
