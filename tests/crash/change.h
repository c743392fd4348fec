/*
 * Changes of the disk itself, which no guest makes: of its size and its
 * options.
 *
 * After a crash the disk must be entirely as before the change or as after it,
 * and its sectors must hold what they held; the part that it grew by reads as
 * zeros.  From every state the change must succeed when it is asked for once
 * more.
 */
#ifndef CRASH_CHANGE_H
#define CRASH_CHANGE_H

#include <stdbool.h>

#include "crash/trial.h"

struct change_case {
	const char *config;
	const char *change; /* "resize SECTORS", "preallocate MODE SECTORS" */
};

extern const struct change_case change_cases[];
extern const unsigned n_change_cases;

/* Returns false and sets *failure at the first state that is wrong. */
bool change_run(const struct trial_env *env, const struct base *b,
		const char *change, struct failure *failure);

#endif
