/*
 * Everything that hangs from one L1 table: the active one's or a snapshot's.
 *
 * A tree is read from the file, table by table, past the cache: it must have
 * been flushed, and nobody may change it meanwhile.  Memory is the L1 table and
 * one batch of runs, whatever the size of the disk.
 */
#ifndef IMAGE_TREE_H
#define IMAGE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

struct image;

/* An L1 table in host byte order. */
struct tree {
	uint64_t *l1;
	uint64_t n_l1;
	bool has_copied;     /* after a walk: an L2 entry has the flag */
};

/* Host clusters in a row, each of which the tree refers to once. */
struct tree_run {
	uint64_t first;      /* cluster index */
	uint64_t n;
};

/* The L1 table of @n entries at @l1_off. */
int tree_read(struct tree *t, struct image *img, uint64_t n, uint64_t l1_off,
	      struct qcow2_error *err);
/* The one in memory. */
int tree_of_image(struct tree *t, struct image *img, struct qcow2_error *err);
void tree_release(struct tree *t);

/* @runs are in order of host offset. */
typedef int tree_fn(void *opaque, const struct tree_run *runs, size_t n,
		    struct qcow2_error *err);

/*
 * Calls @fn with all references of the tree in batches: L2 tables, data and
 * compressed clusters, not the L1 table.  The batches are the same every time.
 * -EIO with the defect for an entry that points nowhere; the first error of @fn
 * ends the walk.  @fn NULL only looks at all entries.
 */
int tree_walk(struct image *img, struct tree *t, tree_fn *fn,
	      void *opaque, struct qcow2_error *err);

/* One reference more for everything in the tree: all or nothing.  -ERANGE when
 * a refcount is at its maximum. */
int tree_add_references(struct image *img, struct tree *t,
			struct qcow2_error *err);

/* One less.  Goes on after an error, which leaves refcounts too high, and
 * returns the first. */
int tree_drop_references(struct image *img, struct tree *t,
			 struct qcow2_error *err);

#endif
