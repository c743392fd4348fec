/*
 * Was this image made with preallocated metadata?
 *
 * Then all clusters are mapped while the host file is mostly holes, and asking
 * the host file for holes finds the zeros that the tables do not show.  For
 * other images that would cost a system call per extent and find nothing.
 */
#ifndef IMAGE_HOLES_H
#define IMAGE_HOLES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "format/geometry.h"
#include "format/header.h"

enum prealloc_state {
	PREALLOC_UNKNOWN = 0,
	PREALLOC_NO,
	PREALLOC_YES,
};

struct holes {
	_Atomic int state;    /* enum prealloc_state, worked out on first use */
	pthread_mutex_t lock; /* a leaf; protects what follows */
	uint64_t off;         /* the host extent that was asked for last: */
	uint64_t end; /* holes between tables are long, and neighbours */
	bool is_data; /* ask for the same one again and again */
};

/* The caller must hold p->lock, or have the image to himself. */
VALIDATOR(holes);

void holes_init(struct holes *p);
void holes_release(struct holes *p);

/*
 * True when distinctly more clusters have a refcount than the host file system
 * keeps space for: by more than a ninth, and by two clusters at least.
 */
int holes_detect(struct holes *p, const struct geometry *g,
		 const struct header *h, struct qcow2_store *file, bool *yes,
		 struct qcow2_error *err);

/* Is @host_off data or hole, and for how many bytes (at most *len)?  Remembers
 * answers of stores that nobody writes to. */
int holes_extent(struct holes *p, struct qcow2_store *data, uint64_t *len,
		 uint64_t host_off, bool *is_data, struct qcow2_error *err);

#endif
