/*
 * The COPIED flags of the active disk's tables, where many change at once.
 *
 * Writers are kept out meanwhile.  The refcounts that the flags tell about are
 * made durable first; the flags become durable at the end, by a flush that has
 * to follow.
 */
#ifndef WRITE_COPIED_FLAGS_H
#define WRITE_COPIED_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

struct image;
struct tree;

/* Clears the flags of the entries of all L2 tables of @tree.  The clusters they
 * point to must have more than one reference already. */
int copied_flags_clear_tables(struct image *img, struct tree *tree,
			      struct qcow2_error *err);

/* Clears the flags of the active L1 table. */
int copied_flags_clear_l1(struct image *img, struct qcow2_error *err);

/*
 * Makes the flags of the active L1 and L2 tables what the refcounts say.  A
 * cluster that the disk uses and whose refcount is 0 gets its refcount back:
 * *n_lost counts those.
 */
int copied_flags_restore(struct image *img, uint64_t *n_lost,
			 struct qcow2_error *err);

#endif
