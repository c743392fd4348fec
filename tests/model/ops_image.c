/*
 * Random operations on the image as a whole.
 */
#include "base/checked.h"
#include "model/ops.h"

static uint64_t below(struct test_rng *rng, uint64_t limit)
{
	return test_rng_below(rng, limit);
}

static bool one_in(struct test_rng *rng, uint64_t n)
{
	return below(rng, n) == 0;
}

static enum op_kind random_kind(struct test_rng *rng)
{
	static const struct {
		enum op_kind kind;
		unsigned weight;
	} kinds[] = {
		{ OP_SNAPSHOT, 18 }, { OP_APPLY, 8 },  { OP_DELETE, 9 },
		{ OP_LIST, 3 },      { OP_VIEWS, 4 },  { OP_VMSTATE, 3 },
		{ OP_RESIZE, 18 },   { OP_AMEND, 14 }, { OP_BACKING, 4 },
		{ OP_COMPACT, 8 },   { OP_CHECK, 4 },  { OP_KILL, 7 },
	};
	uint64_t at = below(rng, 100);
	unsigned i = 0;

	while (at >= kinds[i].weight)
		at -= kinds[i++].weight;
	return kinds[i].kind;
}

/* ---- Sizes --------------------------------------------------------------- */

static uint64_t any_size(const struct config *c, struct test_rng *rng)
{
	const struct window *w = &c->windows[below(rng, c->n_windows)];
	uint64_t step = (1 + below(rng, 3)) * c->cluster;

	switch (below(rng, 8)) {
	case 0:
		return c->room;
	case 1:
		return below(rng, c->room + 1);
	case 2:
		return c->size + step;
	case 3:
		return c->size > step ? c->size - step : 0;
	case 4:
		return c->size + below(rng, 40) * 512;
	default:
		return op_random_place(w, one_in(rng, 2) ? c->cluster : 512,
				       rng);
	}
}

static uint64_t random_size(const struct config *c, struct test_rng *rng)
{
	uint64_t size = min_u64(any_size(c, rng), c->room);

	if (!one_in(rng, 30))
		size = align_down(size, 512);
	if (size == 0 && !one_in(rng, 10))
		size = 512;
	return size;
}

static void random_resize(const struct config *c, struct test_rng *rng,
			  struct op *op)
{
	op->size = random_size(c, rng);
	op->flags = one_in(rng, 12) ? 0 : QCOW2_RESIZE_SHRINK;
	if (op->size > c->size ? one_in(rng, 2) : one_in(rng, 20))
		op->prealloc = (enum qcow2_preallocation)(1 + below(rng, 3));
}

/* ---- Amending ------------------------------------------------------------ */

static uint32_t random_change(struct test_rng *rng)
{
	static const uint32_t changes[] = {
		QCOW2_AMEND_VERSION,        QCOW2_AMEND_VERSION,
		QCOW2_AMEND_REFCOUNT_BITS,  QCOW2_AMEND_REFCOUNT_BITS,
		QCOW2_AMEND_LAZY_REFCOUNTS, QCOW2_AMEND_SIZE,
		QCOW2_AMEND_DATA_FILE_RAW,
	};

	return changes[below(rng, sizeof(changes) / sizeof(changes[0]))];
}

static void random_amend(const struct config *c, struct test_rng *rng,
			 struct op *op)
{
	op->set = random_change(rng);
	while (one_in(rng, 3))
		op->set |= random_change(rng);
	op->version = 2 + (uint32_t)below(rng, 2);
	op->refcount_bits = 1u << below(rng, 7);
	if (op->set & QCOW2_AMEND_VERSION && op->version == 2) {
		if (c->refcount_bits != 16)
			op->set |= QCOW2_AMEND_REFCOUNT_BITS;
		if (!one_in(rng, 4))
			op->refcount_bits = 16;
	}
	op->on = one_in(rng, 2);
	op->size = random_size(c, rng);
	op->flags = one_in(rng, 12) ? 0 : QCOW2_RESIZE_SHRINK;
}

/* ---- The rest ------------------------------------------------------------ */

static void random_vmstate(const struct config *c, struct test_rng *rng,
			   struct op *op)
{
	op->len = 1 + below(rng, min_u64(3 * (uint64_t)c->cluster, 300000));
	op->fill = one_in(rng, 2) ? FILL_RANDOM : FILL_STAMP;
	op->pattern = (uint8_t)(1 + below(rng, 255));
}

static void random_compact(struct test_rng *rng, struct op *op)
{
	if (one_in(rng, 3))
		op->flags |= QCOW2_COMPACT_ZEROS;
	if (one_in(rng, 4))
		op->flags |= QCOW2_COMPACT_COMPRESS;
	if (one_in(rng, 8))
		op->flags |= QCOW2_COMPACT_DRY_RUN;
	if (one_in(rng, 4))
		op->stop_after = 1 + (unsigned)below(rng, 6);
}

struct op op_random_image(const struct config *c, struct test_rng *rng,
			  bool with_qemu)
{
	struct op op = { .kind = random_kind(rng) };

	op.cuts = test_rng_next(rng);
	op.which = (unsigned)below(rng, 64);
	op.by_qemu = with_qemu && one_in(rng, 6);
	if (op.kind == OP_RESIZE)
		random_resize(c, rng, &op);
	else if (op.kind == OP_AMEND)
		random_amend(c, rng, &op);
	else if (op.kind == OP_BACKING)
		op.which %= BACKING_CHANGES;
	else if (op.kind == OP_COMPACT)
		random_compact(rng, &op);
	else if (op.kind == OP_CHECK)
		op.flags = one_in(rng, 2) ? QCOW2_CHECK_REPAIR_LEAKS
					  : QCOW2_CHECK_REPAIR_ALL;
	else if (op.kind == OP_KILL && one_in(rng, 3))
		op.flags = QCOW2_CHECK_REPAIR_ALL;
	else if (op.kind == OP_VMSTATE ||
		 (op.kind == OP_SNAPSHOT && one_in(rng, 3)))
		random_vmstate(c, rng, &op);
	return op;
}
