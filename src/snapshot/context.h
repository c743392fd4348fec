/*
 * The state of one operation on snapshots, for the operations' own files only.
 *
 *	create.c  creation
 *	delete.c  deletion
 *	apply.c   application
 */
#ifndef SNAPSHOT_CONTEXT_H
#define SNAPSHOT_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/validate.h"
#include "commit/l1_switch.h"
#include "format/snapshot.h"
#include "image/snapshots.h"
#include "snapshot/table.h"
#include "write/tree.h"

struct image;

struct creation {
	struct image *img;
	struct snapshot entry;
	char id[SNAPSHOT_ID_BYTES_MAX + 1];
	struct snapshot_info info; /* owned until the list has it */
	struct snapshots next;     /* the list with it */
	struct tree tree;          /* the disk's */
	bool counted;              /* the tree has one reference more */
	int unfinished;            /* -errno: it could not be undone; 0 */
	uint64_t l1_off;           /* of the copy of its L1 table */
	struct fresh_table table;
	const struct qcow2_snapshot_opts *opts;
	unsigned n_passes; /* over the tables that are done, of two */
};

struct deletion {
	struct image *img;
	struct snapshot_info info; /* the list's, until that is replaced */
	struct snapshots next;     /* the list without it */
	struct tree tree;          /* the snapshot's */
	bool switched;             /* the header does not have it any more */
};

struct application {
	struct image *img;
	struct tree old;  /* the active disk's */
	struct tree tree; /* the snapshot's, as long as the disk needs */
	/* The part of each that the other does not have at the same place. */
	struct tree lost;
	struct tree gained;
	uint64_t disk_size;
	uint64_t l1_off;         /* of the new table; 0: none yet */
	bool counted;            /* `gained` has one reference more */
	bool in_place;           /* the old table becomes the new one */
	struct l1_switch memory; /* the new table, then the old one */
};

/* Each before its switch; the image is frozen. */
VALIDATOR(creation);
VALIDATOR(deletion);
VALIDATOR(application);

#endif
