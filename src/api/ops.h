/*
 * Arguments that several jobs have.
 */
#ifndef API_OPS_H
#define API_OPS_H

#include <qcow2.h>

/* Checks @opts and completes them in @own; @more: flags beyond those that all
 * conversions know. */
int ops_take_convert_opts(const struct qcow2_convert_opts *opts, uint32_t more,
			  struct qcow2_convert_opts *own,
			  struct qcow2_error *err);

#endif
