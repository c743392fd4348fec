/*
 * Was this image made with preallocated metadata?
 *
 * Then all clusters are mapped while the host file is mostly holes, and asking
 * the host file for holes finds the zeros that the tables do not show.  For
 * other images that would cost a system call per extent and find nothing.
 */
#ifndef IMAGE_PREALLOCATED_H
#define IMAGE_PREALLOCATED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "format/geometry.h"
#include "format/header.h"

enum prealloc_state {
	PREALLOC_UNKNOWN = 0,
	PREALLOC_NO,
	PREALLOC_YES,
};

struct preallocated {
	_Atomic int state; /* enum prealloc_state, worked out on first use */
};

/*
 * True when distinctly more clusters have a refcount than the host file system
 * keeps space for: by more than a ninth, and by two clusters at least.
 */
int preallocated_detect(struct preallocated *p, const struct geometry *g,
			const struct header *h, struct qcow2_store *file,
			bool *yes, struct qcow2_error *err);

#endif
