/*
 * The consistency check: rebuilds every refcount from every reference and
 * compares, using nothing but format/ and store/, so that tests can use it as
 * an oracle against image/ and all above it.
 */
#ifndef CHECK_CHECK_H
#define CHECK_CHECK_H

#include <qcow2.h>

/*
 * As qcow2_check_store(), of which it is the work: @opts (NULL: defaults) and
 * @result are whole structures.  No lock is taken.  Nothing but @file is
 * opened.
 *
 * A finding may stand for several neighbouring clusters with the same mismatch;
 * the result counts them one by one.  Findings of severity NONE are not counted
 * as corruptions or leaks: notes, which have a defect, and what could not be
 * checked, which has none and is in check_errors.
 *
 * -EIO when the header, the refcount table, the snapshot table or the active L1
 * table cannot be read; other unreadable tables are check errors.
 */
int check_store(struct qcow2_store *file, const struct qcow2_check_opts *opts,
		struct qcow2_check_result *result, struct qcow2_error *err);

#endif
