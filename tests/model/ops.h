/*
 * Operations on a disk, and sequences of them.
 */
#ifndef MODEL_OPS_H
#define MODEL_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/config.h"

enum op_kind {
	OP_WRITE,
	OP_WRITEV,
	OP_ZERO,
	OP_DISCARD,
	OP_COMPRESS,
	OP_FLUSH,
	OP_REOPEN,
	OP_SNAPSHOT,
	OP_MAP,
	OP_READ,
};

/* What a write writes. */
enum fill {
	FILL_BYTE,    /* one byte, all over */
	FILL_STAMP,   /* sectors that differ, and can be compressed */
	FILL_RANDOM,  /* nothing can be compressed */
};

struct op {
	enum op_kind kind;
	enum fill fill;
	uint8_t pattern;
	unsigned flags;      /* QCOW2_FUA, QCOW2_NOWAIT, QCOW2_ZERO_* */
	uint64_t off;
	uint64_t len;
	uint64_t cuts;       /* seed of how a vector is cut up */
};

struct sequence {
	size_t n;
	struct op *ops;
};

struct sequence sequence_random(const struct config *c, struct test_rng *rng,
				size_t n);
struct sequence sequence_copy(const struct sequence *s);
void sequence_free(struct sequence *s);
/* Takes [@at, @at + @n) out. */
void sequence_cut(struct sequence *s, size_t at, size_t n);

static inline bool op_writes(const struct op *op)
{
	return op->kind == OP_WRITE || op->kind == OP_WRITEV ||
	       op->kind == OP_COMPRESS;
}

static inline bool op_has_range(const struct op *op)
{
	return op_writes(op) || op->kind == OP_ZERO ||
	       op->kind == OP_DISCARD || op->kind == OP_READ;
}

/* What the operation writes at guest bytes [@off, @off + @len). */
void op_fill(const struct op *op, uint8_t *buf, uint64_t len, uint64_t off);

/* The parts into which a vectored operation is cut: their number, at most
 * @max, and their lengths, which add up to @op->len. */
enum { OP_PARTS_MAX = 6 };
unsigned op_parts(const struct op *op, uint64_t parts[OP_PARTS_MAX]);

#endif
