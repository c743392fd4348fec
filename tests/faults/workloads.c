#include "faults/workloads.h"

#include <assert.h>

#include "crash/generate.h"

/* Offsets and lengths in quarters of a cluster, so that one text serves all
 * cluster sizes; a length that becomes empty takes one sector. */
static const char *const texts[WORKLOADS_FIXED] = {
	/* Allocate, copy on write, overwrite, flush, all again. */
	"w 0 4; w 6 1; f; w 0 2; w 4 9; W 1 1; f; w 40 4; w 41 1; f",
	/* Zero and discard what is there, and use what that frees. */
	"w 0 12; f; z 0 4; u 4 4; d 8 4; f; f; w 16 8; z 17 1; f; w 0 12; f",
	/* Far apart, so that tables are made; reopened in between. */
	"w 0 1; w 60 4; w 120 1; w 180 4; o; w 240 2; w 300 4; W 380 3; f",
	/* Compressed clusters, packed, replaced and read back. */
	"c 0 8; c 12 4; f; w 1 1; c 16 4; f; c 0 4; z 4 4; f; w 0 20; f",
	"c 40 4; f; c 0 4; c 16 8; d 40 4; f; f; c 24 12; c 0 12; f",
};

/* Each configuration gets two of these. */
static const char *const changes[] = {
	"w 0 12; w 40 8; d 4 4; r 30; w 4 4; r 90; w 60 4; f; g 130; w 120 4",
	"w 0 12; s 0; w 4 8; s 1; w 40 4; a 0; x 1; w 0 4; f; x 0; w 8 4; f",
	"w 0 12; w 40 12; d 0 8; k 0; w 4 4; z 40 4; s 0; w 44 4; k 3; f",
	"w 0 12; z 4 4; b 32; w 8 8; b 16; v 2; w 4 2; f; v 3; s 0; k 2; x 0",
	"c 0 8; w 40 8; d 40 8; k 0; s 0; c 4 8; r 24; k 0; a 0; w 2 3; f",
};

enum { N_CHANGES = sizeof(changes) / sizeof(changes[0]) };

static uint32_t scaled(const struct config *c, uint32_t quarters)
{
	return quarters * (c->cluster / MODEL_SECTOR) / 4;
}

/* Inside the disk; compressed writes in whole clusters. */
static struct op fit(const struct config *c, struct op op)
{
	uint32_t unit = c->cluster / MODEL_SECTOR;

	if (op.kind == OP_RESIZE || op.kind == OP_GROW)
		op.off = scaled(c, op.off) ? scaled(c, op.off) : 1;
	if (op.len == 0)
		return op;
	op.off = scaled(c, op.off) % c->sectors;
	op.len = scaled(c, op.len) ? scaled(c, op.len) : 1;
	if (op.kind == OP_COMPRESS && !config_has_compression(c))
		op.kind = OP_WRITE;
	if (op.kind == OP_COMPRESS)
		op.off -= op.off % unit;
	if (op.len > c->sectors - op.off)
		op.len = c->sectors - op.off;
	return op;
}

static const char *text_of(const struct config *c, unsigned index)
{
	unsigned turn = (unsigned)(c - configs) + 2 * index;

	return index < WORKLOADS_FIXED ? texts[index]
				       : changes[turn % N_CHANGES];
}

struct workload workloads_get(const struct config *c, unsigned index,
			      struct test_rng *rng)
{
	struct workload w;
	bool ok;

	if (index >= WORKLOADS_RANDOM)
		return generate_random(rng, c, 12);
	ok = workload_parse(&w, text_of(c, index));
	assert(ok);
	(void)ok;
	for (unsigned i = 0; i < w.n; i++)
		w.ops[i] = fit(c, w.ops[i]);
	return w;
}
