/*
 * The target of a raw copy, and the bytes that are left out of it.
 *
 * A target that was empty reads as zeros already, so zeros cost nothing; one
 * that cannot be emptied (a block device) is zeroed where the disk has zeros.
 */
#ifndef OPS_TARGET_H
#define OPS_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

struct target {
	struct qcow2_store *store; /* borrowed */
	bool reads_zero;           /* what was not written reads as zeros */
	bool write_all;            /* zeros are to take up space too */
	uint64_t hole_bytes;       /* zeros of this length are not written */
	uint64_t unit_bytes;       /* they begin and end at multiples of it */
};

/*
 * Gives the store @size_bytes, all zero if that is cheap.  -ENOSPC when its
 * size is fixed and too small.  @sparse_bytes: as in qcow2_convert_opts, not 0.
 */
int target_init(struct target *t, struct qcow2_store *store,
		uint64_t size_bytes, uint64_t sparse_bytes,
		struct qcow2_error *err);

/* True when ranges of zeros must be handed to target_zero(). */
static inline bool target_wants_zeros(const struct target *t)
{
	return !t->reads_zero || t->write_all;
}

int target_zero(struct target *t, uint64_t len, uint64_t off,
		struct qcow2_error *err);

/* Writes @len bytes without the long zeros in them. */
int target_write(struct target *t, const uint8_t *buf, size_t len, uint64_t off,
		 struct qcow2_error *err);

#endif
