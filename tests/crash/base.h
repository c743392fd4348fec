/*
 * The start of a trial: an image of one configuration in memory, and the
 * contents of its disk.
 */
#ifndef CRASH_BASE_H
#define CRASH_BASE_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "crash/model.h"

enum { BASE_FILES = 2 }; /* the image and its data file */

enum base_backing { BACKING_NONE, BACKING_QCOW2, BACKING_RAW };
enum base_data { DATA_INSIDE, DATA_FILE, DATA_FILE_RAW };

/* The host clusters that are taken before the trial begins. */
enum base_fill {
	FILL_NONE,
	FILL_BLOCK, /* all but a few that the refcount blocks describe */
	FILL_TABLE, /* and the file ends where the refcount table does */
	FILL_HOLES, /* every other one */
	FILL_FILE,  /* all that lie in the file: claims are fresh */
	FILL_LOW,   /* none: refcounts of clusters in use are 0 too (F01) */
};

struct config {
	const char *name;
	uint32_t cluster;
	uint32_t sectors;
	uint32_t version;
	uint32_t refcount_bits;
	uint32_t create_flags; /* QCOW2_CREATE_* */
	enum base_backing backing;
	uint32_t backing_sectors;
	const char *backing_name;
	enum base_data data;
	enum qcow2_preallocation prealloc;
	const char *prefill;    /* a workload that comes before */
	bool snapshot;          /* and a snapshot after that */
	bool old_snapshot;      /* it has no extra data */
	const char *after;      /* a workload that comes then */
	bool zeros_over_shared; /* a shared cluster gets the zero flag */
	bool autoclear;         /* an autoclear bit of somebody else's */
	enum base_fill fill;
	uint32_t discard; /* QCOW2_DISCARD_* */
	uint32_t ahead;   /* clusters claimed ahead; 0: as usual */
	uint32_t l2_cache_bytes;
};

extern const struct config configs[];
extern const unsigned n_configs;
const struct config *config_find(const char *name);

static inline bool config_has_compression(const struct config *c)
{
	return c->data == DATA_INSIDE;
}

struct base {
	const struct config *config;
	struct qcow2_store *files[BASE_FILES]; /* no data file: NULL */
	struct qcow2_store *backing;
	struct model model;
	uint8_t *snapshot; /* contents of its disk (of the
				     * configuration's size), or NULL */
	uint64_t leaks;
	bool crashed; /* crashed state of another base */
};

struct base base_new(const struct config *config);
void base_free(struct base *b);

/* The same with other files, which the base takes over, and the contents of
 * their disk. */
struct base base_derive(const struct base *from,
			struct qcow2_store *files[BASE_FILES],
			const struct model *model, uint64_t leaks);

/* Opens an image of this base's kind in @files. */
int base_open(const struct base *b, struct qcow2_store *const files[BASE_FILES],
	      bool writable, const char *snapshot, struct qcow2_image **out,
	      struct qcow2_error *err);

/* Performs one operation; reopening replaces *img (NULL when that failed). */
int base_perform(const struct base *b,
		 struct qcow2_store *const files[BASE_FILES],
		 struct qcow2_image **img, const struct op *op, uint32_t value,
		 struct qcow2_error *err);

/* The name of snapshot @i of a model. */
const char *base_snapshot_name(unsigned i);

/* Clusters that the allocator claims ahead, and the limit of leaks from it. */
uint64_t base_ahead(const struct base *b);

#endif
