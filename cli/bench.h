/*
 * The load of `qcow2 bench`, and its results.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "options.h"

#define BENCH_QUEUES_MAX 64

struct bench_options {
	struct common common;
	enum qcow2_format format;
	const struct cache_mode *cache;
	const char *aio; /* NULL: not said */
	uint64_t n_requests;
	uint64_t depth; /* of each queue */
	uint64_t size_bytes;
	uint64_t step; /* 0: size_bytes */
	uint64_t offset;
	uint64_t flush_interval; /* requests of one queue; 0: no flush */
	uint64_t pattern;
	uint64_t read_percent; /* BENCH_NOT_SAID: all, or none with -w */
	uint64_t seconds;      /* 0: until all requests are done */
	uint64_t n_queues;
	uint64_t n_workers; /* of all queues together */
	bool write;
	bool no_drain;
	bool random;
	bool no_ring;
	bool sqpoll;
};

#define BENCH_NOT_SAID UINT64_MAX

/* Latencies by size: 16 places for each power of two of nanoseconds. */
#define BENCH_PLACES 1024

struct bench_histogram {
	uint64_t n[BENCH_PLACES];
	uint64_t n_all;
	uint64_t max_ns;
};

struct bench_result {
	struct bench_histogram latency; /* of reads and writes */
	uint64_t n_requests;            /* of these */
	uint64_t n_flushes;
	uint64_t wall_ns;
	uint64_t user_ns;
	uint64_t system_ns;
	/* Ways of reads, writes and flushes. */
	uint64_t n_at_once;
	uint64_t n_ring;
	uint64_t n_worker;
	uint64_t n_blocking;
};

/* Returns 0, or -errno of the first request that failed. */
int bench_load(const struct bench_options *o, struct qcow2_image *img,
	       struct bench_result *result, struct qcow2_error *err);

void bench_histogram_add(struct bench_histogram *h, uint64_t ns);
void bench_histogram_merge(struct bench_histogram *h,
			   const struct bench_histogram *other);
/* Returns a time that so many of 1000 requests did not exceed, by at most a
 * sixteenth too long. */
uint64_t bench_histogram_permille(const struct bench_histogram *h,
				  unsigned permille);

/* Prints the numbers below qemu-img's lines, or all as JSON. */
void bench_print_numbers(const struct bench_options *o,
			 const struct bench_result *r);
void bench_print_json(const struct bench_options *o,
		      const struct bench_result *r);

#endif
