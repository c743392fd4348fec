/*
 * Arguments that several jobs have.
 */
#ifndef API_OPS_H
#define API_OPS_H

#include <qcow2.h>

/* What conversions to a path know besides. */
#define CONVERT_PATH_FLAGS \
	(QCOW2_CONVERT_IN_PLACE | QCOW2_CONVERT_REPLACE | QCOW2_CONVERT_EXCL)

/* Checks @opts and completes them in @own; @more: flags beyond those that all
 * conversions know. */
int ops_take_convert_opts(const struct qcow2_convert_opts *opts, uint32_t more,
			  struct qcow2_convert_opts *own,
			  struct qcow2_error *err);

#endif
