/*
 * Puts right what the check found.
 *
 * A repair is a row of stages, each of which leaves an image that is better
 * than the one before and on which the next repair, after a crash, begins anew.
 * Between two stages lies a barrier, and no stage relies on what a later one
 * puts right:
 *
 *  0. extensions.c: parts of the header beside the tables that keep software
 *     from opening the image;
 *  1. replace.c: a new refcount table with its blocks, where they are damaged
 *     or missing; a new snapshot table; copies of clusters that serve as guest
 *     data and as something else.  All lie behind everything in use and are
 *     durable before one sector of the header switches to them.
 *  2. entries.c: faults of an L1 or L2 entry that leave no doubt about its
 *     meaning.
 *  3. counts.c: refcounts that are too low are raised,
 *  4. flags.c: COPIED flags follow the references,
 *  5. counts.c: refcounts that are too high are lowered.
 *  6. header.c: the dirty and the corrupt bit go, if another check finds
 *     nothing but leaks.
 *
 * A stage never decides from findings, but from the state of a finished check
 * (check/context.h), which is made anew after a stage that changed references.
 * Data is not guessed: if an entry may mean anything, it stays as it is and is
 * reported.
 */
#ifndef REPAIR_REPAIR_H
#define REPAIR_REPAIR_H

#include <qcow2.h>

/* The permitted repairs; a set. */
enum repair_what {
	REPAIR_LEAKS = 1,
	/* Refcounts and COPIED flags, as needed by an image that was not
	 * closed.  Includes REPAIR_LEAKS. */
	REPAIR_REFCOUNTS = 2,
	REPAIR_ALL = 4, /* includes the others */
};

/*
 * As check_store(), but repairs @what before; @result tells what is left and
 * what was repaired.  The caller holds the write lock of @file, and has no
 * image open on it.  @opts and @result: whole structures, @opts may be NULL.
 *
 * On an error the image is what it was or better.
 */
int repair_store(struct qcow2_store *file, const struct qcow2_check_opts *opts,
		 enum repair_what what, struct qcow2_check_result *result,
		 struct qcow2_error *err);

#endif
