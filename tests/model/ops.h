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
	OP_MAP,
	OP_READ,
	/* On the image as a whole; ops_image.c makes them. */
	OP_SNAPSHOT,
	OP_APPLY,
	OP_DELETE,
	OP_LIST,
	OP_VIEWS,   /* reads all of every snapshot */
	OP_VMSTATE, /* writes VM state that no snapshot keeps */
	OP_RESIZE,
	OP_AMEND,
	OP_BACKING,
	OP_COMPACT,
	OP_CHECK, /* check -r of the closed image */
	OP_KILL,  /* the program ends without closing the image */
	OP_NONE,  /* makes no sense as things are */
};

/* The effects of OP_BACKING. */
enum backing_change {
	BACKING_RENAME, /* another name for the same file */
	BACKING_RENAME_LONG,
	BACKING_DETACH,    /* everything is copied out of it before */
	BACKING_ATTACH,    /* everything is written before */
	BACKING_NO_FORMAT, /* refused */
	BACKING_CHANGES,
};

/* The contents of a write. */
enum fill {
	FILL_BYTE,   /* one byte, all over */
	FILL_STAMP,  /* sectors that differ, and can be compressed */
	FILL_RANDOM, /* nothing can be compressed */
};

struct op {
	enum op_kind kind;
	enum fill fill;
	uint8_t pattern;
	unsigned flags; /* QCOW2_FUA, QCOW2_NOWAIT, QCOW2_ZERO_*; and of
			      * resize, compact and check */
	uint64_t off;
	uint64_t len;   /* SNAPSHOT, VMSTATE: of VM state */
	uint64_t cuts;  /* seed of how a vector is cut up, of a
			      * snapshot's times, and the like */
	bool by_qemu;   /* qemu-img does it */
	unsigned which; /* snapshot, or enum backing_change */
	uint64_t size;  /* RESIZE, AMEND: of the disk */
	enum qcow2_preallocation prealloc;
	uint32_t set; /* AMEND: QCOW2_AMEND_*; of it: */
	uint32_t version;
	uint32_t refcount_bits;
	bool on;             /* lazy_refcounts and data_file_raw */
	unsigned stop_after; /* COMPACT: calls of progress; 0: never stops */
};

struct sequence {
	size_t n;
	struct op *ops;
};

/* @with_qemu: some operations by qemu-img. */
struct sequence sequence_random(const struct config *c, struct test_rng *rng,
				size_t n, bool with_qemu);
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
	return op_writes(op) || op->kind == OP_ZERO || op->kind == OP_DISCARD ||
	       op->kind == OP_READ;
}

/* Operations on the image as a whole. */
struct op op_random_image(const struct config *c, struct test_rng *rng,
			  bool with_qemu);
/* A place near a multiple of @unit inside of the window, or at its ends. */
uint64_t op_random_place(const struct window *w, uint64_t unit,
			 struct test_rng *rng);

/* The operation on a disk of which only the first @c->size bytes exist; OP_NONE
 * when nothing is left. */
struct op op_clip(const struct config *c, struct op op);

/* The bytes that the operation writes at [@off, @off + @len) of the guest's
 * disk. */
void op_fill(const struct op *op, uint8_t *buf, uint64_t len, uint64_t off);

/* The parts into which a vectored operation is cut: their number, at most
 * @max, and their lengths, which add up to @op->len. */
enum { OP_PARTS_MAX = 6 };
unsigned op_parts(const struct op *op, uint64_t parts[OP_PARTS_MAX]);

#endif
