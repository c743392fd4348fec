#include "model/shrink.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* Enough for a few hundred operations; a trial that hangs is slow. */
enum { TRIALS_MAX = 3000 };

struct shrink {
	struct trial *best;
	struct verdict *verdict;
	unsigned n_trials;
};

/* Takes @t, which becomes the best if it fails; false if it does not. */
static bool try_trial(struct shrink *s, struct trial *t)
{
	struct verdict v;

	if (s->n_trials++ >= TRIALS_MAX) {
		sequence_free(&t->ops);
		return false;
	}
	trial_run_apart(t, &v);
	if (v.ok) {
		sequence_free(&t->ops);
		return false;
	}
	sequence_free(&s->best->ops);
	*s->best = *t;
	*s->verdict = v;
	return true;
}

static struct trial copy(const struct shrink *s)
{
	struct trial t = *s->best;

	t.ops = sequence_copy(&s->best->ops);
	return t;
}

/* ---- Fewer operations ---------------------------------------------------- */

static bool cut_chunks(struct shrink *s, size_t size)
{
	bool progress = false;
	size_t at = s->best->ops.n;

	/* From the end: operations after the damage go first. */
	while (at > 0) {
		size_t n = min_u64(size, at);
		struct trial t = copy(s);

		at -= n;
		sequence_cut(&t.ops, at, n);
		progress |= try_trial(s, &t);
	}
	return progress;
}

static void cut_operations(struct shrink *s)
{
	bool progress = true;

	for (size_t size = s->best->ops.n / 2; size > 1; size /= 2)
		cut_chunks(s, size);
	while (progress && s->best->ops.n)
		progress = cut_chunks(s, 1);
}

/* ---- Simpler operations -------------------------------------------------- */

static bool same_op(const struct op *a, const struct op *b)
{
	return a->kind == b->kind && a->fill == b->fill &&
	       a->pattern == b->pattern && a->flags == b->flags &&
	       a->off == b->off && a->len == b->len &&
	       a->by_qemu == b->by_qemu && a->size == b->size &&
	       a->prealloc == b->prealloc && a->set == b->set &&
	       a->stop_after == b->stop_after;
}

static void to_sectors(struct op *op)
{
	uint64_t end = align_down(op->off + op->len, 512);

	op->off = align_up(op->off, 512);
	op->len = end > op->off ? end - op->off : 512;
}

/* The @step-th way to make an operation simpler. */
static bool simplify(const struct config *c, struct op *op, unsigned step)
{
	bool compress = op->kind == OP_COMPRESS;
	uint64_t half = align_up(op->len / 2, compress ? c->cluster : 512);

	switch (step) {
	case 0:
		op->flags = 0;
		return true;
	case 1:
		op->fill = FILL_BYTE;
		return true;
	case 2:
		if (op->kind == OP_WRITEV || op->kind == OP_COMPRESS)
			op->kind = OP_WRITE;
		return true;
	case 3:
		if (!compress)
			to_sectors(op);
		return true;
	case 4:
		if (half < op->len)
			op->len = half;
		return true;
	case 5:
		if (half < op->len) {
			op->off += half;
			op->len -= half;
		}
		return true;
	case 6:
		if (op->len > c->cluster)
			op->len = c->cluster;
		return true;
	default:
		return false;
	}
}

/* Without its @n-th bit, unless it is the only one. */
static uint32_t without_a_bit(uint32_t bits, unsigned n)
{
	uint32_t bit = UINT32_C(1) << n;

	return bits & bit && bits != bit ? bits & ~bit : bits;
}

/* The same for operations on the image as a whole. */
static bool simplify_image_op(const struct config *c, struct op *op,
			      unsigned step)
{
	enum { BITS = 6 };

	if (step < BITS) {
		op->set = without_a_bit(op->set, step);
		return true;
	}
	switch (step - BITS) {
	case 0:
		op->by_qemu = false;
		return true;
	case 1:
		op->prealloc = QCOW2_PREALLOC_OFF;
		return true;
	case 2:
		op->stop_after = 0;
		return true;
	case 3:
		if (op->kind == OP_COMPACT)
			op->flags = 0;
		return true;
	case 4:
		if (op->kind == OP_SNAPSHOT)
			op->len = 0;
		return true;
	case 5:
		if (op->kind == OP_RESIZE || op->set & QCOW2_AMEND_SIZE)
			op->size = align_down(op->size, c->cluster);
		return true;
	default:
		return false;
	}
}

static bool in_a_window(const struct config *c, const struct op *op)
{
	for (unsigned i = 0; i < c->n_windows; i++) {
		const struct window *w = &c->windows[i];

		if (op->off >= w->off && op->off + op->len <= w->off + w->len)
			return true;
	}
	return !op_has_range(op);
}

static bool simplify_op(struct shrink *s, size_t i, unsigned step)
{
	struct trial t = copy(s);
	struct op *op = &t.ops.ops[i];

	bool can = op_has_range(op) ? simplify(&t.config, op, step)
				    : simplify_image_op(&t.config, op, step);

	if (!can || same_op(op, &s->best->ops.ops[i]) ||
	    !in_a_window(&t.config, op)) {
		sequence_free(&t.ops);
		return false;
	}
	return try_trial(s, &t);
}

/* One step can make room for another. */
static void simplify_all(struct shrink *s)
{
	enum { STEPS = 12 };
	bool progress = true;

	while (progress) {
		progress = false;
		for (size_t i = 0; i < s->best->ops.n; i++)
			for (unsigned step = 0; step < STEPS; step++)
				while (simplify_op(s, i, step))
					progress = true;
	}
}

/* ---- Simpler images ------------------------------------------------------ */

static void plain_contents(struct shrink *s)
{
	struct trial t = copy(s);

	for (size_t i = 0; i < t.ops.n; i++)
		t.ops.ops[i].fill = FILL_BYTE;
	try_trial(s, &t);
}

static void simplify_config(struct shrink *s)
{
	struct config c = s->best->config;

	for (unsigned step = 0; config_simplify(&c, step); step++) {
		if (memcmp(&c, &s->best->config, sizeof(c)) != 0) {
			struct trial t = copy(s);

			t.config = c;
			try_trial(s, &t);
		}
		c = s->best->config;
	}
}

static void without_qemu(struct shrink *s)
{
	struct trial t = copy(s);

	t.ask_qemu = false;
	try_trial(s, &t);
}

void trial_shrink(struct trial *t, struct verdict *v)
{
	struct shrink s = { t, v, 0 };

	t->quiet = true;
	without_qemu(&s);
	cut_operations(&s);
	plain_contents(&s);
	simplify_config(&s);
	simplify_all(&s);
	cut_operations(&s);
}
