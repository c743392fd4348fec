/*
 * Workloads: short sequences of guest operations, with a text form.
 *
 *	w OFF LEN   write            W OFF LEN   write with FUA
 *	z OFF LEN   zero             u OFF LEN   zero, may unmap
 *	d OFF LEN   discard          c OFF LEN   compressed write
 *	f           flush            o           close and open again
 *
 * OFF and LEN count 512-byte sectors; operations are separated by `;`.
 */
#ifndef CRASH_WORKLOAD_H
#define CRASH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op_kind {
	OP_WRITE,
	OP_ZERO,
	OP_UNMAP,
	OP_DISCARD,
	OP_COMPRESS,
	OP_FLUSH,
	OP_REOPEN,
};

struct op {
	enum op_kind kind;
	bool fua;
	uint32_t off;
	uint32_t len;
};

enum { WORKLOAD_OPS_MAX = 48, WORKLOAD_TEXT_BYTES = 1024 };

struct workload {
	unsigned n;
	struct op ops[WORKLOAD_OPS_MAX];
};

/* False for what is not a workload. */
bool workload_parse(struct workload *w, const char *text);
void workload_print(const struct workload *w, char *text, size_t size);

void workload_add(struct workload *w, struct op op);

/* True when its return makes everything before it durable. */
static inline bool op_settles(const struct op *op)
{
	return op->kind == OP_FLUSH || op->kind == OP_REOPEN || op->fua;
}

#endif
