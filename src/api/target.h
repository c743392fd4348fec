/*
 * How what is made at a path gets there.
 */
#ifndef API_TARGET_H
#define API_TARGET_H

#include <stdint.h>

#include <qcow2.h>

/* The options for paths of qcow2_create_opts and qcow2_convert_opts, as PUBLISH_*
 * flags; -EINVAL when they contradict each other. */
int target_flags(uint32_t create_flags, uint32_t convert_flags, unsigned *out,
		 struct qcow2_error *err);

#endif
