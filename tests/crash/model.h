/*
 * What each sector of the guest's disk may hold: the last value that a
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
#define VALUE_BACKING 0xb0000000u /* what the backing file holds */

struct model_sector {
	uint32_t n;
	uint32_t values[MODEL_VALUES_MAX]; /* the durable one first */
};

/* How the disk's clusters behave, as far as the guest can see it. */
struct model_rules {
	uint32_t cluster_sectors;
	/* Clusters that begin below it cannot be unmapped by a discard. */
	uint32_t discard_keeps;
};

struct model {
	struct model_rules rules;
	uint32_t n_sectors;
	struct model_sector *sectors;
};

struct model model_new(uint32_t n_sectors, struct model_rules rules);
struct model model_copy(const struct model *m);
void model_free(struct model *m);

/* Every sector gets exactly one value. */
void model_set(struct model *m, uint32_t sector, uint32_t value);

/* The operation may have happened from now on. */
void model_submit(struct model *m, const struct op *op, uint32_t value);
/* All that was submitted has happened and is durable. */
void model_settle(struct model *m);

/* Pattern of a sector, and back. */
void value_write(uint8_t *sector, uint32_t lba, uint32_t value);
uint32_t value_read(const uint8_t *sector, uint32_t lba);

/* The first sector of @disk that holds what it must not; n_sectors if none.
 * With @exact, only the newest value will do. */
uint32_t model_compare(const struct model *m, const uint8_t *disk, bool exact);

/* Makes what was seen the only values. */
void model_observe(struct model *m, const uint8_t *disk);

#endif
