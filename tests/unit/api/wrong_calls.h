/*
 * Calls of the public functions, each with one argument that is wrong: they
 * have to be refused with -EINVAL before anything is done.
 */
#ifndef API_WRONG_CALLS_H
#define API_WRONG_CALLS_H

#include <stddef.h>

#include <qcow2.h>

#define CLUSTER 65536
#define DISK_BYTES (16 * CLUSTER)
#define TARGET "./api-args-target.img" /* never made */

struct targets {
	struct qcow2_store *broken; /* a check would find something to repair */
	struct qcow2_image *img;    /* open for writing */
	struct qcow2_image *dst;    /* likewise */
};

struct wrong_call {
	const char *what;
	int (*call)(struct targets *t, struct qcow2_error *err);
};

extern const struct wrong_call wrong_calls[];
extern const size_t n_wrong_calls;

#endif
