/*
 * The layout of the first cluster's new contents, for header_cluster.c only.
 */
#ifndef RESHAPE_HEADER_LAYOUT_H
#define RESHAPE_HEADER_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/validate.h"
#include "reshape/header_cluster.h"

/* A range of the old cluster that means something. */
struct used {
	size_t off;
	size_t end;
};

struct layout {
	const struct header_cluster *to;
	uint8_t *old;
	uint8_t *new;
	size_t len;        /* of both: the window */
	struct used lists; /* header and extensions of the old cluster */
	struct used name;
	uint8_t *rest; /* extensions but the backing format, and the
				* end mark */
	size_t rest_len;
};

/* It belongs to the writer of the header. */
VALIDATOR(layout);

#endif
