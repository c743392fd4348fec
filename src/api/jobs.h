/*
 * Arguments that several jobs have.
 */
#ifndef API_JOBS_H
#define API_JOBS_H

#include <qcow2.h>

/* The further flags of conversions to a path. */
#define CONVERT_PATH_FLAGS \
	(QCOW2_CONVERT_IN_PLACE | QCOW2_CONVERT_REPLACE | QCOW2_CONVERT_EXCL)

/* Checks @opts and completes them in @own; @more: flags beyond those that all
 * conversions know. */
int jobs_take_convert_opts(const struct qcow2_convert_opts *opts, uint32_t more,
			   struct qcow2_convert_opts *own,
			   struct qcow2_error *err);

/* The options for paths of qcow2_create_opts and qcow2_convert_opts, as
 * PUBLISH_* flags; -EINVAL when they contradict each other. */
int jobs_path_flags(uint32_t create_flags, uint32_t convert_flags,
		    unsigned *out, struct qcow2_error *err);

#endif
