/*
 * A trial: one workload on one base, and every legal state of the files after a
 * crash at any moment of it.
 *
 * The files are recorded while the workload runs.  A flush makes the events
 * durable that had ended before it in its own file; of all others any subset
 * may survive, and of the last write any of its sectors.  Up to `all_max`
 * events are taken in all combinations; beyond, in order, one alone, all but
 * one, in pairs and at random.
 */
#ifndef CRASH_TRIAL_H
#define CRASH_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "crash/base.h"
#include "crash/seen.h"
#include "crash/verify.h"

struct stats {
	uint64_t trials;
	uint64_t states;   /* enumerated */
	uint64_t distinct; /* different files or expectations: judged */
	uint64_t again;    /* of those, crashed again later */
	uint64_t violations;
};

struct effort {
	unsigned all_max;      /* events of which all subsets are taken */
	unsigned n_random;     /* random subsets beyond that */
	unsigned again_one_in; /* crash once more after one state in so many;
				 * 0: never */
};

struct trial_env {
	struct effort effort;
	uint64_t seed;
	struct seen *seen; /* of all trials; may be NULL */
	struct stats *stats;
};

enum { FAILURE_BYTES = 8192 };

struct failure {
	char why[WHY_BYTES];
	char events[FAILURE_BYTES]; /* the effect of the crash on each */
};

/* Returns false at the first violation, which it describes in *failure. */
bool trial_run(const struct trial_env *env, const struct base *b,
	       const struct workload *w, struct failure *failure);

/* Removes every operation that the failure does not need from the workload. */
void trial_shrink(const struct trial_env *env, const struct base *b,
		  struct workload *w, struct failure *failure);

#endif
