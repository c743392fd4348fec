/*
 * Judging one state of the files as a crash may have left them.
 */
#ifndef CRASH_VERIFY_H
#define CRASH_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "crash/base.h"

enum { WHY_BYTES = 400 };

/*
 * Opens the files for reading, compares every sector with @m and checks the
 * image: nothing but leaks, and at most @max_leaks of them.  With @exact every
 * sector must have its newest value.  False, and the reason in @why, when the
 * state is a violation; else *now is the disk as it is, unless NULL, and the
 * caller frees it.
 */
bool verify_state(const struct base *b,
		  struct qcow2_store *const files[BASE_FILES],
		  const struct model *m, bool exact, uint64_t max_leaks,
		  struct model *now, char why[WHY_BYTES]);

/* Opens the files for writing, goes on with @w, closes them and judges the
 * result; changes the files. */
bool verify_goes_on(const struct base *b, const struct workload *w,
		    char why[WHY_BYTES]);

/* The image says that its refcounts are not to be trusted. */
bool verify_is_dirty(struct qcow2_store *file);

#endif
