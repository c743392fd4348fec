/*
 * Crashes while an internal snapshot is created, applied or deleted.
 *
 * The disk, the list of snapshots, the contents of each of them and its VM
 * state must all be as before the operation or all as after it.  From every
 * state the image goes on: the operation is made again, and guests write.
 */
#ifndef CRASH_SNAPSHOTS_H
#define CRASH_SNAPSHOTS_H

#include <stdbool.h>

#include "crash/trial.h"

/*
 * Steps are separated by `;`: those of workload.h, and
 *
 *	s NAME   create     a NAME   apply     x NAME   delete
 *	v        VM state   S NAME   create, and the VM state belongs to it
 */
struct snapshot_case {
	const char *config;
	const char *before;
	const char *step; /* the one that crashes */
};

extern const struct snapshot_case snapshot_cases[];
extern const unsigned n_snapshot_cases;

/* Returns false and sets *failure at the first state that is wrong. */
bool snapshots_run(const struct trial_env *env, const struct base *b,
		   const struct snapshot_case *c, struct failure *failure);

#endif
