/*
 * Every request that a reader can make, made to an image that may be damaged
 * anywhere: each answer may be an error, and none may break the promises of the
 * API, which are asserted here.
 */
#ifndef HOSTILE_EXERCISE_H
#define HOSTILE_EXERCISE_H

#include <qcow2.h>

/* The number of calls, and of those that failed. */
struct tally {
	unsigned long calls;
	unsigned long failed;
	int verbose;              /* print every failure's message */
	struct qcow2_error first; /* of the failed calls */
};

/* Bounds on the work per image, so that large disks end soon. */
#define EXERCISE_READS 256
#define EXERCISE_EXTENTS 4096
#define EXERCISE_VIEWS 16

/* Reads, maps and describes an open image. */
void exercise_image(struct qcow2_image *img, struct tally *tally);

/* The names and views of the snapshots of the image at @path (or, @path NULL,
 * in @store), each view opened and exercised. */
void exercise_views(struct qcow2_image *img, const char *path,
		    struct qcow2_store *store,
		    const struct qcow2_open_opts *opts, struct tally *tally);

/* Opens, exercises and closes what is in @store, then checks it.  Returns the
 * result of opening. */
int exercise_store(struct qcow2_store *store,
		   const struct qcow2_open_opts *opts, struct tally *tally);

#endif
