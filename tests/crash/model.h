/*
 * The values that each sector of the guest's disk may hold: the last one that a
 * completed flush covers, or any submitted after it.
 *
 * A value is a number; sectors carry it together with their own address, so
 * that a cluster that belongs elsewhere is recognised.  Value 0 is zeros.
 */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crash/workload.h"

enum {
	MODEL_VALUES_MAX = WORKLOAD_OPS_MAX + 1,
	MODEL_SECTOR = 512,
};

#define VALUE_ZERO 0u
#define VALUE_FOREIGN UINT32_MAX  /* another sector's contents, or none's */
#define VALUE_BACKING 0xb0000000u /* contents of the backing file */

struct model_sector {
	uint32_t n;
	uint32_t values[MODEL_VALUES_MAX]; /* the durable one first */
};

/* The behaviour of the disk's clusters, and the operations that the image
 * allows. */
struct model_rules {
	uint32_t cluster_sectors;
	uint32_t backing_sectors;
	uint32_t version;
	uint32_t refcount_bits;
	bool compression;
	bool version_2;      /* nothing speaks against it */
	bool snapshots;      /* can be made */
	bool first_snapshot; /* one is there, and stays */
};

enum { MODEL_SNAPSHOTS = 3 };

/* A snapshot; it has sectors if it may or must be there, else NULL. */
struct model_snapshot {
	bool may_be;
	bool must_be;
	uint32_t n_sectors;
	uint32_t *values;
};

struct model {
	struct model_rules rules;
	uint32_t n_sectors;     /* of the disk, the newest number */
	uint32_t other_sectors; /* the other one that it may have */
	uint32_t room;          /* for disks that grow; beyond: zeros */
	struct model_sector *sectors;
	struct model_snapshot snapshots[MODEL_SNAPSHOTS];
	bool shares_clusters; /* something has been compressed */
	/* Version 2 has no bit that says that a snapshot is being made: a crash
	 * then leaves COPIED flags that disagree with refcounts. */
	bool flags_lie;
	bool flags_may_lie; /* after a crash now */
};

struct model model_new(uint32_t n_sectors, struct model_rules rules);
struct model model_copy(const struct model *m);
void model_free(struct model *m);

/* Every sector gets exactly one value. */
void model_set(struct model *m, uint32_t sector, uint32_t value);

/* Returns the part of the operation that makes sense now, or OP_NONE. */
struct op model_fit(const struct model *m, struct op op);

/* The operation may have happened from now on. */
void model_submit(struct model *m, const struct op *op, uint32_t value);
/* It returned, and is durable if it is a change; nothing else is. */
void model_complete(struct model *m, const struct op *op);
/* Everything that was submitted has happened and is durable. */
void model_settle(struct model *m);

/* Pattern of a sector, and back. */
void value_write(uint8_t *sector, uint32_t lba, uint32_t value);
uint32_t value_read(const uint8_t *sector, uint32_t lba);

bool model_allows_size(const struct model *m, uint64_t n_sectors, bool exact);

/* The first of @n sectors of @disk that holds a value it must not; @n if none
 * does.  With @exact, only the newest value is allowed. */
uint32_t model_compare(const struct model *m, const uint8_t *disk, uint32_t n,
		       bool exact);

/* Makes the values that were seen the only ones. */
void model_observe(struct model *m, const uint8_t *disk, uint32_t n);

/* ---- Between model.c and model_changes.c --------------------------------- */

void model_submit_change(struct model *m, const struct op *op);

#endif
