/*
 * The state of the image while a sequence runs: the configuration as operations
 * change it, the snapshots, and the operations that must be refused.
 */
#ifndef MODEL_STATE_H
#define MODEL_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"
#include "model/ops.h"

enum { KEPT_MAX = 6, BACKING_NAME_BYTES = 1024 };

/* op.which of a snapshot that is not there. */
#define SNAPSHOT_NOBODY UINT32_MAX

/* One of the snapshots, in the order of the table. */
struct kept {
	uint32_t number; /* it is named after it */
	uint32_t id;
	uint64_t size; /* of its disk */
	struct op made_by;
};

struct state {
	struct config now;
	enum backing backing; /* that there is a file for */
	char backing_name[BACKING_NAME_BYTES];
	uint32_t next;    /* number of a snapshot */
	bool had_vmstate; /* some was written */
	unsigned n_kept;
	struct kept kept[KEPT_MAX];
};

struct state state_new(const struct config *c);

/* Returns the part of the operation that makes sense now, or OP_NONE. */
struct op state_fit(const struct state *s, struct op op);

/* The error with which the operation must be refused; 0: it must work.  Other
 * code judges refcounts that are too narrow and header clusters that are too
 * small. */
int state_refusal(const struct state *s, const struct op *op);

/* Either the operation was done or, with @refused, it was not.  An amendment
 * that is refused late has made the changes that come before the refcounts. */
void state_done(struct state *s, const struct op *op, bool refused);

/* The name that OP_BACKING gives to the backing file; NULL: none. */
const char *state_backing_name(const struct op *op,
			       char name[BACKING_NAME_BYTES]);

void kept_name(const struct kept *k, char name[16]);

#endif
