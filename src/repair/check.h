/*
 * The check that callers ask for: with the repairs that its flags name, under
 * the lock that these need.
 */
#ifndef REPAIR_CHECK_H
#define REPAIR_CHECK_H

#include <qcow2.h>

/*
 * As qcow2_check_store(), of which it is the work: @opts and @result are whole
 * structures and known to be valid.  Holds @store meanwhile, for writing when
 * it repairs, unless @opts have QCOW2_CHECK_NO_LOCK.  After an error *result
 * says nothing.
 */
int repair_check_store(struct qcow2_store *store,
		       const struct qcow2_check_opts *opts,
		       struct qcow2_check_result *result,
		       struct qcow2_error *err);

/* The same for the file at @path. */
int repair_check_path(const char *path, const struct qcow2_check_opts *opts,
		      struct qcow2_check_result *result,
		      struct qcow2_error *err);

#endif
