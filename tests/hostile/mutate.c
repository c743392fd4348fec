/*
 * mutate DIR: random damage to the valid images in DIR, one to three fields at
 * a time, and everything asked of each result, in memory.
 *
 * TEST_SEED repeats a run, HOSTILE_ITERATIONS sets its length (0: for ever).
 * Each image has a seed of its own, so that `mutate DIR SEED` repeats the one
 * that a crash reports.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bases.h"
#include "exercise.h"

#define ITERATIONS_DEFAULT 60000

/* This is for a signal handler, which tells the image that crashed. */
static volatile uint64_t current_seed;

static void on_crash(int signal_number)
{
	char text[] = "crashed; repeat with: mutate DIR 0x................\n";
	char *digit = strchr(text, '.');
	uint64_t seed = current_seed;

	for (int i = 15; i >= 0; i--, digit++)
		*digit = "0123456789abcdef"[seed >> (4 * i) & 15];
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

struct totals {
	uint64_t opened;
	struct tally tally;
	double slowest;
	uint64_t slowest_seed;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct qcow2_store *damaged(const struct bases *all, uint64_t seed)
{
	struct rng r = { seed | 1 };
	const struct base *b;
	struct qcow2_store *store;
	uint8_t *bytes;

	for (int i = 0; i < 4; i++)
		rng_next(&r);
	b = &all->list[rng_below(&r, all->n)];
	bytes = malloc(b->len);
	if (!bytes)
		err(1, "memory");
	memcpy(bytes, b->bytes, b->len);
	for (uint64_t n = 1 + rng_below(&r, 3); n > 0; n--)
		mutate_field(b, bytes, &r);
	store = store_of(bytes, b->len);
	free(bytes);
	return store;
}

static void one(const struct bases *all, uint64_t seed, struct totals *totals)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *store = damaged(all, seed);
	double start = seconds(), used;

	/* A store names no directory, so references would end every try. */
	opts.flags = QCOW2_OPEN_NO_BACKING;
	current_seed = seed;
	if (exercise_store(store, &opts, &totals->tally) == 0)
		totals->opened++;
	opts.flags = QCOW2_OPEN_METADATA_ONLY;
	exercise_store(store, &opts, &totals->tally);
	qcow2_store_unref(store);
	used = seconds() - start;
	if (used > totals->slowest) {
		totals->slowest = used;
		totals->slowest_seed = seed;
	}
}

static uint64_t iterations(void)
{
	const char *text = getenv("HOSTILE_ITERATIONS");

	return text ? strtoull(text, NULL, 0) : ITERATIONS_DEFAULT;
}

int main(int argc, char **argv)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE,
				       SIGABRT, SIGILL, SIGALRM };
	struct totals totals = { 0 };
	uint64_t seed = seed_get(), n = iterations(), i;
	struct rng seeds = { 2 * seed + 1 };
	struct bases all;

	if (argc < 2 || argc > 3)
		errx(64, "usage: mutate DIR [SEED]");
	for (i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
		signal(crashes[i], on_crash);
	bases_load(&all, argv[1]);
	if (argc == 3) {
		totals.tally.verbose = 1;
		one(&all, strtoull(argv[2], NULL, 0), &totals);
		bases_free(&all);
		return 0;
	}
	printf("TEST_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	for (i = 0; i < n || n == 0; i++) {
		alarm(20); /* nobody waits for an image longer */
		one(&all, rng_next(&seeds), &totals);
	}
	alarm(0);
	printf("%" PRIu64 " images, %" PRIu64 " opened, %lu calls, %lu failed\n"
	       "slowest: %.3f s, seed 0x%" PRIx64 "\n",
	       i, totals.opened, totals.tally.calls, totals.tally.failed,
	       totals.slowest, totals.slowest_seed);
	bases_free(&all);
	/* Damage that never lets an image open tests nothing. */
	if (n >= 1000 && totals.opened < n / 20)
		errx(1, "too few images open");
	return totals.slowest > 10;
}
