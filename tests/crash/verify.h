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
 * sector must have its newest value.  Returns false, and the reason in @why,
 * when the state is a violation; else sets *now, unless NULL, to the disk as it
 * is, which the caller must free.
 */
bool verify_state(const struct base *b,
		  struct qcow2_store *const files[BASE_FILES],
		  const struct model *m, bool exact, uint64_t max_leaks,
		  struct model *now, char why[WHY_BYTES]);

/* Opens the files for writing, goes on with @w, closes them and judges the
 * result; changes the files. */
bool verify_goes_on(const struct base *b, const struct workload *w,
		    char why[WHY_BYTES]);

/* Returns whether the image says that nobody may trust its refcounts. */
bool verify_is_dirty(struct qcow2_store *file);

#endif
