/*
 * Everything that hangs from one L1 table: the active one's or a snapshot's.
 *
 * A tree is read from the file, table by table, past the cache: it must have
 * been flushed, and nobody may change it meanwhile.  Memory is the L1 table and
 * one batch of runs, whatever the size of the disk; a tree that is walked more
 * than once can keep its runs up to TREE_KEPT_MAX.
 */
#ifndef WRITE_TREE_H
#define WRITE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "image/repeats.h"

struct image;

/* 24 MiB, and as much again while they are sorted. */
enum { TREE_KEPT_MAX = 3 << 19 };

/* Host clusters in a row, each of which the tree refers to once. */
struct tree_run {
	uint64_t first; /* cluster index */
	uint64_t n;     /* few enough that their refcounts are a small part
			      * of the cache */
};

/* All runs of a tree, or none. */
struct tree_runs {
	struct tree_run *list;
	size_t n;
	size_t capacity;
};

/* An L1 table in host byte order. */
struct tree {
	uint64_t *l1;
	uint64_t n_l1;
	bool has_copied; /* after a walk: an L2 entry has the flag */
	bool keep;       /* the first walk shall keep the runs for others */
	struct tree_runs kept;
	struct repeats repeats; /* after tree_allow_walk() */
	bool allowed;
	/* Told before each L2 table is read, which is number @done of @total
	 * L1 entries; an error ends the walk.  NULL: nobody is. */
	int (*watch)(void *opaque, uint64_t done, uint64_t total,
		     struct qcow2_error *err);
	void *watcher;
};

/* A tree belongs to the thread that walks it. */
VALIDATOR(tree);

/* The L1 table of @n entries at @l1_off. */
int tree_read(struct tree *t, struct image *img, uint64_t n, uint64_t l1_off,
	      struct qcow2_error *err);
/* The one in memory. */
int tree_of_image(struct tree *t, struct image *img, struct qcow2_error *err);
void tree_release(struct tree *t);

/* -E2BIG when entries of the L1 table share L2 tables and going through them
 * for each takes too long.  Walks ask themselves; a caller that must not fail
 * half-way asks before. */
int tree_allow_walk(struct image *img, struct tree *t, struct qcow2_error *err);

/* After that: true for a table that is known to point to nothing, as
 * image/repeats.h has it.  There is no need to read it. */
bool tree_points_nowhere(const struct tree *t, const struct geometry *g,
			 uint64_t table_off);

/* @runs are in order of host offset. */
typedef int tree_fn(void *opaque, const struct tree_run *runs, size_t n,
		    struct qcow2_error *err);

/*
 * Calls @fn with all references of the tree in batches: L2 tables, data and
 * compressed clusters, not the L1 table.  The batches are the same every time.
 * -EIO with the defect for an entry that points nowhere; the first error of @fn
 * ends the walk.  @fn NULL only looks at all entries.
 */
int tree_walk(struct image *img, struct tree *t, tree_fn *fn, void *opaque,
	      struct qcow2_error *err);

/* @table: the bytes of the table at @host_off, to which entry @index of the L1
 * table points; NULL when it points to nothing.  They may be changed: nobody
 * else looks at them. */
typedef int tree_table_fn(void *opaque, uint8_t *table, uint64_t index,
			  uint64_t host_off, struct qcow2_error *err);

/* Calls @fn with all L2 tables; the first error ends it. */
int tree_each_table(struct image *img, struct tree *t, tree_table_fn *fn,
		    void *opaque, struct qcow2_error *err);

/* One reference more for everything in the tree: all or nothing, also when
 * @t->watch stops it.  -ERANGE when a refcount is at its maximum. */
int tree_add_references(struct image *img, struct tree *t,
			struct qcow2_error *err);

/* One less.  Goes on after an error, which leaves refcounts too high, and
 * returns the first. */
int tree_drop_references(struct image *img, struct tree *t,
			 struct qcow2_error *err);

#endif
