#include "faults/workloads.h"

#include <assert.h>

#include "crash/generate.h"

/* Offsets and lengths in quarters of a cluster, so that one text serves all
 * cluster sizes; what becomes empty takes one sector. */
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

static uint32_t scaled(const struct config *c, uint32_t quarters)
{
	return quarters * (c->cluster / MODEL_SECTOR) / 4;
}

/* Inside the disk; compressed writes in whole clusters. */
static struct op fit(const struct config *c, struct op op)
{
	uint32_t unit = c->cluster / MODEL_SECTOR;

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

struct workload workloads_get(const struct config *c, unsigned index,
			      struct test_rng *rng)
{
	struct workload w;
	bool ok;

	if (index >= WORKLOADS_FIXED)
		return generate_random(rng, c, 12);
	ok = workload_parse(&w, texts[index]);
	assert(ok);
	(void)ok;
	for (unsigned i = 0; i < w.n; i++)
		w.ops[i] = fit(c, w.ops[i]);
	return w;
}
