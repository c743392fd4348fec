/*
 * The results of `qcow2 bench`.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>

#include "json.h"
#include "size.h"

enum { STEPS_LOG2 = 4, STEPS = 1 << STEPS_LOG2 };

/* Times below STEPS have a place each; from there on a power of two has
 * STEPS of them. */
static unsigned place_of(uint64_t ns)
{
	unsigned shift = 0;

	while (ns >> shift >= 2 * STEPS)
		shift++;
	return shift * STEPS + (unsigned)(ns >> shift);
}

/* The longest time of a place. */
static uint64_t place_end(unsigned place)
{
	unsigned shift = place < 2 * STEPS ? 0 : place / STEPS - 1;
	uint64_t first = place - shift * STEPS;

	return ((first + 1) << shift) - 1;
}

void bench_histogram_add(struct bench_histogram *h, uint64_t ns)
{
	h->n[place_of(ns)]++;
	h->n_all++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

void bench_histogram_merge(struct bench_histogram *h,
			   const struct bench_histogram *other)
{
	for (unsigned i = 0; i < BENCH_PLACES; i++)
		h->n[i] += other->n[i];
	h->n_all += other->n_all;
	if (other->max_ns > h->max_ns)
		h->max_ns = other->max_ns;
}

uint64_t bench_histogram_permille(const struct bench_histogram *h,
				  unsigned permille)
{
	uint64_t wanted = h->n_all - h->n_all * (1000 - permille) / 1000;
	uint64_t n = 0;
	unsigned i = 0;

	while (i < BENCH_PLACES && n + h->n[i] < wanted)
		n += h->n[i++];
	if (i == BENCH_PLACES || place_end(i) > h->max_ns)
		return h->max_ns;
	return place_end(i);
}

static double per_second(uint64_t n, uint64_t ns)
{
	return ns ? (double)n * 1e9 / (double)ns : 0;
}

static double micros(uint64_t ns)
{
	return (double)ns / 1e3;
}

void bench_print_numbers(const struct bench_options *o,
			 const struct bench_result *r)
{
	const struct bench_histogram *h = &r->latency;
	double rate = per_second(r->n_requests, r->wall_ns);
	char bytes[SIZE_TEXT_MAX];

	printf("%" PRIu64 " requests, %.0f requests/s, %s/s\n", r->n_requests,
	       rate,
	       size_text((uint64_t)(rate * (double)o->size_bytes), bytes));
	printf("latency: 50%% %.1f us, 90%% %.1f us, 99%% %.1f us, "
	       "99.9%% %.1f us, max %.1f us\n",
	       micros(bench_histogram_permille(h, 500)),
	       micros(bench_histogram_permille(h, 900)),
	       micros(bench_histogram_permille(h, 990)),
	       micros(bench_histogram_permille(h, 999)), micros(h->max_ns));
	printf("ways: at once %" PRIu64 ", io_uring %" PRIu64
	       ", workers %" PRIu64 ", blocking %" PRIu64 "\n",
	       r->n_at_once, r->n_ring, r->n_worker, r->n_blocking);
	printf("processor time: user %.3f s, system %.3f s\n",
	       micros(r->user_ns) / 1e6, micros(r->system_ns) / 1e6);
}

static void json_latency(struct json *j, const struct bench_histogram *h)
{
	json_object(j, "latency-ns");
	json_u64(j, "p50", bench_histogram_permille(h, 500));
	json_u64(j, "p90", bench_histogram_permille(h, 900));
	json_u64(j, "p99", bench_histogram_permille(h, 990));
	json_u64(j, "p99.9", bench_histogram_permille(h, 999));
	json_u64(j, "max", h->max_ns);
	json_end(j);
}

static void json_ways(struct json *j, const struct bench_result *r)
{
	json_object(j, "ways");
	json_u64(j, "at-once", r->n_at_once);
	json_u64(j, "io_uring", r->n_ring);
	json_u64(j, "workers", r->n_worker);
	json_u64(j, "blocking", r->n_blocking);
	json_end(j);
}

void bench_print_json(const struct bench_options *o,
		      const struct bench_result *r)
{
	double rate = per_second(r->n_requests, r->wall_ns);
	struct json j;

	json_init(&j, stdout, JSON_PRETTY);
	json_object(&j, NULL);
	json_u64(&j, "requests", r->n_requests);
	json_u64(&j, "flushes", r->n_flushes);
	json_u64(&j, "request-bytes", o->size_bytes);
	json_u64(&j, "requests-per-second", (uint64_t)rate);
	json_u64(&j, "bytes-per-second",
		 (uint64_t)(rate * (double)o->size_bytes));
	json_u64(&j, "wall-ns", r->wall_ns);
	json_u64(&j, "user-ns", r->user_ns);
	json_u64(&j, "system-ns", r->system_ns);
	json_latency(&j, &r->latency);
	json_ways(&j, r);
	json_end(&j);
}
