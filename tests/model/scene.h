/*
 * A small disk, and requests to it whose store calls come in a given order; and
 * the question whether some order of the requests explains it.
 */
#ifndef MODEL_SCENE_H
#define MODEL_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/files.h"
#include "model/oracle.h"
#include "model/steps.h"

enum { CLUSTER = 4096, DISK = 10 * CLUSTER, SECTOR = 512 };

struct request {
	struct op op;
	uint8_t seen[DISK]; /* by a read */
	int rc;
};

struct scene {
	struct config config;
	struct files files;
	struct qcow2_store *base; /* the image before the requests */
	struct oracle before;
	struct steps *steps;
	struct qcow2_image *img;
	unsigned n;
	struct request requests[STEPS_THREADS];
	char why[256];
};

/* Makes the image that the requests come to. */
void scene_init(struct scene *s, uint32_t discard);
void scene_release(struct scene *s);

/* One interleaving of s->requests on a copy of that image.  If it returns
 * false, s->why says what is wrong. */
bool scene_play(struct scene *s, struct choices *c, struct test_rng *rng);

#endif
