#include "chain/requests.h"

#include <errno.h>
#include <time.h>

enum {
	NUMBER_DONE, /* and behind it the bytes */
	NUMBER_BYTES,
	NUMBER_NS,
	FIRST_STEP_BITS = 10,
};

uint64_t requests_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static unsigned step_of(uint64_t ns)
{
	uint64_t units = ns >> FIRST_STEP_BITS;
	unsigned step = units ? 64 - (unsigned)__builtin_clzll(units) : 0;

	return step < QCOW2_LATENCY_STEPS ? step : QCOW2_LATENCY_STEPS - 1;
}

static void count_time(struct request_times *t, uint64_t ns)
{
	uint64_t max = atomic_load_explicit(&t->ns_max, memory_order_relaxed);

	atomic_fetch_add_explicit(&t->n_in_step[step_of(ns)], 1,
				  memory_order_relaxed);
	while (ns > max && !atomic_compare_exchange_weak_explicit(
				   &t->ns_max, &max, ns, memory_order_relaxed,
				   memory_order_relaxed))
		;
}

static void count_done(struct requests *r, uint64_t len, uint64_t ns)
{
	struct tally_slot *slot = tally_begin(&r->done);

	tally_slot_add(slot, NUMBER_DONE, 1);
	tally_slot_add(slot, NUMBER_BYTES, len);
	tally_slot_add(slot, NUMBER_NS, ns);
	tally_end(slot);
	count_time(&r->times[(slot - r->done.slots) % REQUEST_TIMES], ns);
}

int requests_count(struct requests *r, int rc, uint64_t len, uint64_t began_ns)
{
	if (rc == 0)
		count_done(r, len, requests_clock() - began_ns);
	else if (rc == -EAGAIN)
		atomic_fetch_add_explicit(&r->again, 1, memory_order_relaxed);
	else if (rc != -EINVAL)
		atomic_fetch_add_explicit(&r->failed, 1, memory_order_relaxed);
	return rc;
}

static void add_times(const struct request_times *t,
		      struct qcow2_request_stats *out)
{
	uint64_t ns_max =
		atomic_load_explicit(&t->ns_max, memory_order_relaxed);

	out->ns_max = ns_max > out->ns_max ? ns_max : out->ns_max;
	for (unsigned i = 0; i < QCOW2_LATENCY_STEPS; i++)
		out->n_by_ns[i] += atomic_load_explicit(&t->n_in_step[i],
							memory_order_relaxed);
}

void requests_get(const struct requests *r, struct qcow2_request_stats *out)
{
	*out = (struct qcow2_request_stats){
		.done = tally_sum(&r->done, NUMBER_DONE),
		.bytes = tally_sum(&r->done, NUMBER_BYTES),
		.ns = tally_sum(&r->done, NUMBER_NS),
		.failed =
			atomic_load_explicit(&r->failed, memory_order_relaxed),
		.again = atomic_load_explicit(&r->again, memory_order_relaxed),
	};
	for (unsigned i = 0; i < REQUEST_TIMES; i++)
		add_times(&r->times[i], out);
}
