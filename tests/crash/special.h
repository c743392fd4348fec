/*
 * The cases that the enumeration of crashes alone cannot show.
 */
#ifndef CRASH_SPECIAL_H
#define CRASH_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "crash/trial.h"

/*
 * Readers under way: while a read of guest data waits for the host, other
 * operations free the clusters it looked up, and flushes and writes would use
 * them again.  The read must return what its sectors held at some time since it
 * began.  Makes one read on one image; returns false and sets *failure when it
 * did not.
 */
bool special_reader(const struct trial_env *env, const struct base *b,
		    uint64_t number, struct failure *failure);

/* O27: when a write comes back with the error of a damaged entry, no crash can
 * undo that the image is marked corrupt. */
bool special_corrupt(const struct trial_env *env, const struct base *b,
		     struct failure *failure);

#endif
