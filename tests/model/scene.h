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
	bool came_early; /* it was behind the end of the disk */
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

/* The part of @op that lies before @size. */
static inline struct op op_cut(struct op op, uint64_t size)
{
	op.len = op.off + op.len > size ? size - op.off : op.len;
	return op;
}

/* The kind of disk that the scenes are made of. */
struct config scene_config(uint32_t discard);

/* Makes the image that the requests come to.  @last: the last of those that
 * fill it; NULL: none. */
void scene_init(struct scene *s, struct config config, const struct op *last);
void scene_release(struct scene *s);

/* One interleaving of s->requests on a copy of that image.  If it returns
 * false, s->why says what is wrong. */
bool scene_play(struct scene *s, struct choices *c, struct test_rng *rng);

#endif
