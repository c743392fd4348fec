/*
 * A process makes the deliberate mistake that its environment names,
 * QCOW2_MUTANT=name: see tests/crash/mutants.
 */
#ifndef TESTS_MUTANT_H
#define TESTS_MUTANT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool mutant_is(const char *name)
{
	const char *chosen = getenv("QCOW2_MUTANT");

	return chosen && strcmp(chosen, name) == 0;
}

#endif
