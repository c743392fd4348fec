/*
 * Workloads: short sequences of guest operations, with a text form.
 *
 *	w OFF LEN   write            W OFF LEN   write with FUA
 *	z OFF LEN   zero             u OFF LEN   zero, may unmap
 *	d OFF LEN   discard          c OFF LEN   compressed write
 *	f           flush            o           close and open again
 *
 * and changes, which no guest makes:
 *
 *	r SECTORS   resize           g SECTORS   grow, with tables allocated
 *	k FLAGS     compact: 1 zeros, 2 compress
 *	s N         create snapshot N
 *	a N         apply it         x N         delete it
 *	v N         version N        b BITS      refcounts of so many bits
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
	OP_NONE,   /* one that makes no sense here */
	OP_FULL,   /* a flush of which the off-th write and all that
			    * follow find no room; 0: no flush, the next
			    * write of all finds none; trials only */
	OP_RESIZE, /* the first of the changes */
	OP_GROW,
	OP_COMPACT,
	OP_SNAPSHOT,
	OP_APPLY,
	OP_DELETE,
	OP_VERSION,
	OP_WIDTH,
};

struct op {
	enum op_kind kind;
	bool fua;
	uint32_t off; /* of a change or of OP_FULL: its number */
	uint32_t len; /* of a change: 0 */
};

enum { WORKLOAD_OPS_MAX = 48, WORKLOAD_TEXT_BYTES = 1024 };

struct workload {
	unsigned n;
	struct op ops[WORKLOAD_OPS_MAX];
};

/* Returns false for a text that is no workload. */
bool workload_parse(struct workload *w, const char *text);
void workload_print(const struct workload *w, char *text, size_t size);

void workload_add(struct workload *w, struct op op);

/* Returns true when the return of the operation makes everything before it
 * durable. */
static inline bool op_settles(const struct op *op)
{
	return op->kind == OP_FLUSH || op->kind == OP_REOPEN || op->fua;
}

static inline bool op_is_change(const struct op *op)
{
	return op->kind >= OP_RESIZE;
}

#endif
