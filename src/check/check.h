/*
 * The consistency check: rebuilds every refcount from every reference and
 * compares, using nothing but format/ and store/, so that tests can use it as
 * an oracle against everything in image/.
 */
#ifndef CHECK_CHECK_H
#define CHECK_CHECK_H

#include <qcow2.h>

int check_store(struct qcow2_store *file, const struct qcow2_check_opts *opts,
		struct qcow2_check_result *result, struct qcow2_error *err);

#endif
