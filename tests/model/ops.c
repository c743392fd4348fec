#include "model/ops.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static uint64_t below(struct test_rng *rng, uint64_t limit)
{
	return test_rng_below(rng, limit);
}

static bool one_in(struct test_rng *rng, uint64_t n)
{
	return below(rng, n) == 0;
}

/* ---- Ranges -------------------------------------------------------------- */

/* Bytes at whose multiples something ends or begins. */
static uint64_t random_unit(const struct config *c, struct test_rng *rng)
{
	uint64_t slice = c->l2_slice_bytes ? c->l2_slice_bytes : 4096;
	uint64_t entry = c->extended_l2 ? 16 : 8;

	switch (below(rng, 8)) {
	case 0:
		return 512;
	case 1:
		return c->extended_l2 ? c->cluster / 32 : 512;
	case 2:
		return min_u64(slice, c->cluster) / entry * c->cluster;
	case 3:
		return 1;
	default:
		return c->cluster;
	}
}

uint64_t op_random_place(const struct window *w, uint64_t unit,
			 struct test_rng *rng)
{
	uint64_t first = align_up(w->off, unit);
	uint64_t n = first < w->off + w->len
			     ? (w->off + w->len - first) / unit + 1
			     : 1;
	uint64_t at = first + below(rng, n) * unit;

	if (one_in(rng, 6))
		at += 512;
	else if (one_in(rng, 6) && at >= 512)
		at -= 512;
	if (one_in(rng, 12))
		at += 1;
	else if (one_in(rng, 12) && at)
		at -= 1;
	at = max_u64(at, w->off);
	return min_u64(at, w->off + w->len);
}

/* The part of a window that the disk has, and a little of it in any case. */
static struct window there(const struct config *c, const struct window *w)
{
	struct window cut = *w;

	if (cut.off + 512 < c->size)
		cut.len = min_u64(cut.len, c->size - cut.off);
	return cut;
}

static void random_range(const struct config *c, struct test_rng *rng,
			 struct op *op)
{
	struct window cut = there(c, &c->windows[below(rng, c->n_windows)]);
	const struct window *w = &cut;
	uint64_t end;

	op->off = op_random_place(w, random_unit(c, rng), rng);
	if (op->off >= w->off + w->len)
		op->off = w->off + w->len - 1;
	if (one_in(rng, 3))
		end = op_random_place(w, random_unit(c, rng), rng);
	else
		end = op->off + random_unit(c, rng) * (1 + below(rng, 4));
	if (one_in(rng, 10))
		end = w->off + w->len;
	end = min_u64(end, w->off + w->len);
	op->len = end > op->off ? end - op->off : 1;
}

/* Compressed writes must be whole clusters, up to the end of the disk. */
static bool widen(const struct config *c, struct op *op)
{
	uint64_t off = align_down(op->off, c->cluster);
	uint64_t end = align_up(op->off + op->len, c->cluster);

	end = min_u64(end, c->size);
	for (unsigned i = 0; i < c->n_windows; i++) {
		const struct window *w = &c->windows[i];

		if (off < w->off || end > w->off + w->len || off >= end)
			continue;
		op->off = off;
		op->len = end - off;
		return true;
	}
	return false;
}

static bool clip_range(const struct config *c, struct op *op)
{
	if (op->off >= c->size)
		return false;
	op->len = min_u64(op->len, c->size - op->off);
	return true;
}

struct op op_clip(const struct config *c, struct op op)
{
	if (!op_has_range(&op))
		return op;
	if (!clip_range(c, &op))
		op.kind = OP_NONE;
	if (op.kind == OP_COMPRESS && !widen(c, &op))
		op.kind = OP_WRITE;
	return op;
}

/* ---- Operations ---------------------------------------------------------- */

static enum op_kind random_kind(struct test_rng *rng)
{
	static const struct {
		enum op_kind kind;
		unsigned weight;
	} kinds[] = {
		{ OP_WRITE, 30 },   { OP_WRITEV, 8 },    { OP_ZERO, 14 },
		{ OP_DISCARD, 12 }, { OP_COMPRESS, 12 }, { OP_FLUSH, 6 },
		{ OP_REOPEN, 3 },   { OP_MAP, 4 },       { OP_READ, 10 },
	};
	uint64_t at = below(rng, 99);
	unsigned i = 0;

	while (at >= kinds[i].weight)
		at -= kinds[i++].weight;
	return kinds[i].kind;
}

static unsigned random_flags(enum op_kind kind, struct test_rng *rng)
{
	unsigned flags = one_in(rng, 15) ? QCOW2_FUA : 0;

	if (kind == OP_ZERO && !one_in(rng, 3))
		flags |= QCOW2_ZERO_MAY_UNMAP;
	if (kind == OP_ZERO && one_in(rng, 4))
		flags |= QCOW2_ZERO_NO_FALLBACK;
	if (kind != OP_COMPRESS && one_in(rng, 10))
		flags |= QCOW2_NOWAIT;
	return flags;
}

static struct op random_op(const struct config *c, struct test_rng *rng,
			   bool stamped)
{
	struct op op = { .kind = random_kind(rng) };

	op.cuts = test_rng_next(rng);
	op.pattern = (uint8_t)(one_in(rng, 12) ? 0 : 1 + below(rng, 255));
	op.fill = stamped ? FILL_STAMP : FILL_BYTE;
	if (stamped && one_in(rng, 5))
		op.fill = FILL_RANDOM;
	random_range(c, rng, &op);
	if (op.kind == OP_COMPRESS &&
	    (!config_has_compression(c) || !widen(c, &op)))
		op.kind = OP_WRITE;
	if (op_has_range(&op) && op.kind != OP_READ)
		op.flags = random_flags(op.kind, rng);
	return op;
}

struct sequence sequence_random(const struct config *c, struct test_rng *rng,
				size_t n, bool with_qemu)
{
	struct sequence s = { n, calloc(n, sizeof(*s.ops)) };
	bool stamped = !one_in(rng, 4);
	/* About one in so many changes the image as a whole. */
	uint64_t image_ops = 3 + below(rng, 12);
	struct config now = *c;

	assert(s.ops);
	for (size_t i = 0; i < n; i++) {
		if (one_in(rng, image_ops))
			s.ops[i] = op_random_image(&now, rng, with_qemu);
		else
			s.ops[i] = random_op(&now, rng, stamped);
		if (s.ops[i].kind == OP_RESIZE && s.ops[i].flags)
			now.size = s.ops[i].size;
	}
	return s;
}

struct sequence sequence_copy(const struct sequence *s)
{
	struct sequence copy = { s->n, calloc(s->n + 1, sizeof(*s->ops)) };

	assert(copy.ops);
	if (s->n)
		memcpy(copy.ops, s->ops, s->n * sizeof(*s->ops));
	return copy;
}

void sequence_free(struct sequence *s)
{
	free(s->ops);
	s->ops = NULL;
}

void sequence_cut(struct sequence *s, size_t at, size_t n)
{
	memmove(&s->ops[at], &s->ops[at + n],
		(s->n - at - n) * sizeof(*s->ops));
	s->n -= n;
}

/* ---- Contents ------------------------------------------------------------ */

static uint64_t mix(uint64_t v)
{
	struct test_rng rng = test_rng_init(v);

	return test_rng_next(&rng);
}

static uint64_t word_at(const struct op *op, uint64_t word)
{
	uint64_t place = op->fill == FILL_RANDOM ? word : word / 64;

	return mix(place * 256 + op->pattern);
}

void op_fill(const struct op *op, uint8_t *buf, uint64_t len, uint64_t off)
{
	uint64_t done = 0;

	if (op->fill == FILL_BYTE || op->pattern == 0) {
		memset(buf, op->pattern, len);
		return;
	}
	while (done < len) {
		uint64_t word = word_at(op, (off + done) / 8);
		uint64_t skip = (off + done) % 8;
		uint64_t part = min_u64(8 - skip, len - done);

		memcpy(buf + done, (uint8_t *)&word + skip, part);
		done += part;
	}
}

unsigned op_parts(const struct op *op, uint64_t parts[OP_PARTS_MAX])
{
	struct test_rng rng = test_rng_init(op->cuts);
	unsigned n = 1 + (unsigned)below(&rng, OP_PARTS_MAX);
	uint64_t left = op->len;

	for (unsigned i = 0; i + 1 < n; i++) {
		parts[i] = min_u64(left, below(&rng, op->len / n + 2));
		left -= parts[i];
	}
	parts[n - 1] = left;
	return n;
}
