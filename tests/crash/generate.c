#include "crash/generate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint32_t cluster_sectors(const struct config *c)
{
	return c->cluster / MODEL_SECTOR;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Two out of three ranges are cluster aligned; most lie in the same few
 * clusters, so that operations meet. */
static void random_range(struct test_rng *rng, const struct config *c,
			 bool aligned, struct op *op)
{
	uint32_t unit = cluster_sectors(c);
	uint32_t n_clusters = (c->sectors + unit - 1) / unit;
	uint32_t hot = min_u32(n_clusters, 6);
	uint32_t cluster = (uint32_t)test_rng_below(
		rng, test_rng_below(rng, 3) ? hot : n_clusters);
	uint32_t count = 1 + (uint32_t)test_rng_below(rng, 3);

	op->off = cluster * unit;
	op->len = count * unit;
	if (!aligned && test_rng_below(rng, 2)) {
		op->off += (uint32_t)test_rng_below(rng, unit);
		op->len = 1 + (uint32_t)test_rng_below(rng, unit + 2);
	}
	op->off = min_u32(op->off, c->sectors - 1);
	op->len = min_u32(op->len, c->sectors - op->off);
}

struct op generate_op(struct test_rng *rng, const struct config *c)
{
	static const enum op_kind kinds[] = {
		OP_WRITE,   OP_WRITE,   OP_WRITE,    OP_WRITE,    OP_WRITE,
		OP_WRITE,   OP_ZERO,    OP_UNMAP,    OP_UNMAP,    OP_DISCARD,
		OP_DISCARD, OP_DISCARD, OP_COMPRESS, OP_COMPRESS, OP_FLUSH,
		OP_FLUSH,   OP_FLUSH,   OP_FLUSH,    OP_REOPEN,
	};
	struct op op = { .kind = kinds[test_rng_below(
				 rng, sizeof(kinds) / sizeof(kinds[0]))] };

	if (op.kind == OP_FLUSH || op.kind == OP_REOPEN)
		return op;
	if (op.kind == OP_COMPRESS && !config_has_compression(c))
		op.kind = OP_WRITE;
	op.fua = op.kind == OP_WRITE && test_rng_below(rng, 12) == 0;
	random_range(rng, c, op.kind == OP_COMPRESS, &op);
	return op;
}

struct workload generate_random(struct test_rng *rng, const struct config *c,
				unsigned n_ops)
{
	struct workload w = { 0 };

	while (w.n < n_ops)
		workload_add(&w, generate_op(rng, c));
	return w;
}

/* One that model_fit() may have to leave out. */
static struct op generate_change(struct test_rng *rng, const struct config *c,
				 const char *kinds)
{
	char text[32];
	struct workload w;
	uint64_t number;
	char kind = kinds[test_rng_below(rng, strlen(kinds))];

	if (kind == 'r' || kind == 'g')
		number = 1 + test_rng_below(rng, 2 * c->sectors);
	else if (kind == 'k')
		number = test_rng_below(rng, 2) ? 0 : test_rng_below(rng, 4);
	else if (kind == 'b')
		number = UINT64_C(8) << test_rng_below(rng, 4);
	else
		number = test_rng_below(rng, 2);
	snprintf(text, sizeof(text), "%c %" PRIu64, kind, number);
	workload_parse(&w, text);
	return w.ops[0];
}

struct workload generate_story(struct test_rng *rng, const struct config *c,
			       unsigned n_ops, const char *kinds)
{
	struct workload w = { 0 };

	while (w.n < n_ops)
		workload_add(&w, test_rng_below(rng, 3) == 0
					 ? generate_change(rng, c, kinds)
					 : generate_op(rng, c));
	return w;
}

static void add(struct workload *w, const struct config *c, enum op_kind kind,
		uint32_t off, uint32_t len)
{
	struct op op = { .kind = kind };

	op.off = min_u32(off, c->sectors - 1);
	op.len = min_u32(len, c->sectors - op.off);
	workload_add(w, op);
}

struct workload generate_menu(const struct config *c)
{
	uint32_t u = cluster_sectors(c);
	struct workload w = { 0 };

	add(&w, c, OP_WRITE, 0, u);
	add(&w, c, OP_WRITE, u, 2 * u);
	add(&w, c, OP_WRITE, 3 * u, u);
	add(&w, c, OP_WRITE, c->sectors - 2, 2);
	add(&w, c, OP_ZERO, 0, u);
	add(&w, c, OP_UNMAP, 0, 2 * u);
	add(&w, c, OP_DISCARD, 0, u);
	add(&w, c, OP_DISCARD, u, 3 * u);
	if (u > 1) {
		add(&w, c, OP_WRITE, u / 2, 1);
		add(&w, c, OP_WRITE, u - 1, 2);
		add(&w, c, OP_ZERO, u / 4, u / 2);
	}
	if (config_has_compression(c)) {
		add(&w, c, OP_COMPRESS, 0, u);
		add(&w, c, OP_COMPRESS, u, 2 * u);
	}
	workload_add(&w, (struct op){ .kind = OP_REOPEN });
	return w;
}
