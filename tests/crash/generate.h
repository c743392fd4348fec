/*
 * Workloads that nobody wrote: random ones, and the operations that make up the
 * exhaustive small ones.
 */
#ifndef CRASH_GENERATE_H
#define CRASH_GENERATE_H

#include "crash/base.h"
#include "support/test.h"

struct op generate_op(struct test_rng *rng, const struct config *c);
struct workload generate_random(struct test_rng *rng, const struct config *c,
				unsigned n_ops);

/* The same with changes in between, of the kinds whose letters @kinds has (see
 * workload.h). */
struct workload generate_story(struct test_rng *rng, const struct config *c,
			       unsigned n_ops, const char *kinds);

/* The operations for exhaustive sequences on this configuration. */
struct workload generate_menu(const struct config *c);

#endif
