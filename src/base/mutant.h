/*
 * Deliberate mistakes, to show that the tests would find them.
 *
 * MUTANT(name) is 0.  Only the crash suite compiles the writer once more with
 * QCOW2_MUTANTS; there it is true in a process whose environment says
 * QCOW2_MUTANT=name.  tests/crash/mutants lists them all.
 */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#ifdef QCOW2_MUTANTS
#include <stdlib.h>
#include <string.h>

static inline int mutant_is(const char *name)
{
	const char *chosen = getenv("QCOW2_MUTANT");

	return chosen && strcmp(chosen, name) == 0;
}

#define MUTANT(name) mutant_is(#name)
#else
#define MUTANT(name) 0
#endif

#endif
