/*
 * The kind of image that a sequence of operations runs on.
 */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "support/test.h"

enum maker {
	MAKER_OURS,    /* qcow2_create_store() */
	MAKER_QEMU,    /* qemu-img create */
	MAKER_CONVERT, /* qemu-img convert -c: full of compressed clusters */
};

enum backing { BACKING_NONE, BACKING_RAW, BACKING_QCOW2 };
enum data { DATA_INSIDE, DATA_FILE, DATA_FILE_RAW };

/* A part of the disk in which operations happen.  The rest of a large disk
 * is never touched. */
struct window {
	uint64_t off;
	uint64_t len;
};

enum { WINDOWS_MAX = 3 };

struct config {
	uint64_t seed; /* it was made of */
	uint64_t size; /* of the disk */
	uint64_t room; /* the largest size that it may get */
	uint64_t backing_size;
	uint32_t cluster;
	uint32_t version;
	uint32_t refcount_bits;
	enum qcow2_compression compression;
	enum qcow2_preallocation prealloc;
	bool extended_l2;
	bool lazy;
	bool on_files;   /* stores are files, not memory */
	bool plain_base; /* its first contents are one byte all over */
	enum maker maker;
	enum backing backing;
	enum data data;
	bool low;                /* refcounts become too low while the image is
				  * closed */
	uint32_t discard;        /* QCOW2_DISCARD_* */
	uint64_t l2_cache_bytes; /* these three as in qcow2_open_opts */
	uint64_t l2_slice_bytes;
	uint64_t refcount_cache_bytes;
	unsigned n_windows;
	struct window windows[WINDOWS_MAX];
};

/* @with_qemu: qemu-img is there to make images. */
struct config config_random(uint64_t seed, bool with_qemu);

/* Some images refuse compressed clusters and snapshots.  qemu-img relies on
 * wide refcounts, and rounds sizes to sectors when it takes a snapshot. */
static inline bool config_has_compression(const struct config *c)
{
	return c->data == DATA_INSIDE;
}

static inline bool config_qemu_snapshots(const struct config *c)
{
	return c->data == DATA_INSIDE && c->refcount_bits >= 16 &&
	       c->size % 512 == 0;
}

/* Makes it simpler in the @step-th way; returns false when there is none. */
bool config_simplify(struct config *c, unsigned step);

/* The creation options as in `-o`. */
void config_print(const struct config *c, char *text, size_t size);
/* The same for a summary, with the settings that are no creation options. */
void config_describe(const struct config *c, char *text, size_t size);

#endif
