/*
 * The parts that the programs of this directory share: their command line, and
 * the walk over configurations, workloads and plans.
 */
#ifndef FAULTS_COMMAND_H
#define FAULTS_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "faults/session.h"

struct command {
	uint64_t seed;
	unsigned part;
	unsigned n_parts;
	unsigned sample;    /* one in so many of the part */
	const char *config; /* NULL: all */
	const char *plan;
	const char *ops; /* NULL: those of workloads.h */
	uint64_t nth;    /* 0: all */
	uint64_t turn;   /* counts what is shared out to parts */
	unsigned violations;
	struct session_stats stats;
};

/* Runs plan number @index on a base; returns false at a violation. */
typedef bool command_plan_fn(struct command *cmd, const struct base *b,
			     const struct workload *w, unsigned index);

/* The whole program; returns its exit status. */
int command_main(int argc, char **argv, const char *const *plans,
		 unsigned n_plans, command_plan_fn *run);

/* For command_plan_fn: runs the sessions and reports a violation. */
bool command_run(struct command *cmd, const struct injector *in,
		 const char *plan, const struct base *b,
		 const struct workload *w);

#endif
