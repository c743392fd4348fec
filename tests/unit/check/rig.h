/*
 * Complete images for the tests of check: put together in a memory store with
 * the format's encoders, refcounts included, and then broken in one place.
 *
 * Layout: header, whatever rig_alloc() and its users took in order, and at
 * rig_finish() L1 table, refcount blocks and refcount table.
 */
#ifndef UNIT_CHECK_RIG_H
#define UNIT_CHECK_RIG_H

#include <inttypes.h>

#include "support/test.h"

#include <qcow2.h>

#include "format/bitmap.h"
#include "format/extension.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/l2.h"
#include "format/snapshot.h"
#include "store/mem.h"
#include "store/store.h"

#define RIG_CLUSTERS 32768
#define RIG_L1 512
#define RIG_FINDINGS 64
#define ANYWHERE (UINT64_MAX - 1)

struct rig_opts {
	uint32_t version;        /* default 3 */
	uint32_t cluster_bits;   /* default 12 */
	uint32_t refcount_order; /* default 4, unless has_order */
	bool has_order;
	uint64_t size; /* default 8 L2 tables' reach */
	uint64_t incompatible_features;
	uint64_t autoclear_features;
};

struct rig {
	struct qcow2_store *store;
	struct geometry geo;
	struct header header;
	uint64_t cs;         /* cluster size */
	uint64_t n_clusters; /* taken so far */
	uint64_t refcounts[RIG_CLUSTERS];
	uint64_t l1[RIG_L1];
	uint64_t l1_off;    /* valid after rig_finish() */
	uint64_t table_off; /* of the refcount table, likewise */
	uint64_t block_off; /* of refcount block 0, likewise */
	bool has_bitmaps;
	bool has_crypto;
	const char *data_file;
	struct bitmaps_ext bitmaps;
	struct crypto_ext crypto;
};

/* The outcome of one check. */
struct outcome {
	int rc;
	struct qcow2_error err;
	struct qcow2_check_result result;
	size_t n; /* findings, notes included */
	struct {
		int32_t defect;
		enum qcow2_severity severity;
		uint64_t host_off;
		char message[200];
	} found[RIG_FINDINGS];
};

struct rig *rig_new(const struct rig_opts *opts);
void rig_free(struct rig *r);

/* @n clusters in a row with refcount 1. */
uint64_t rig_alloc(struct rig *r, uint64_t n);
void rig_set_refcount(struct rig *r, uint64_t off, uint64_t refcount);
/* An L2 table for L1 entry @idx, with COPIED. */
uint64_t rig_l2(struct rig *r, uint32_t idx);
/* A data cluster in entry @i of the L2 table at @l2_off, with COPIED. */
uint64_t rig_data(struct rig *r, uint64_t l2_off, uint32_t i);
void rig_entry(struct rig *r, uint64_t l2_off, uint32_t i, uint64_t desc,
	       uint64_t bitmap);
void rig_finish(struct rig *r);

/* One L2 table with three data clusters, in entries 0, 1 and 2. */
struct small {
	uint64_t l2;
	uint64_t data[3];
};
struct small rig_small(struct rig *r);

/* A snapshot of what rig_small() made: refcounts raised, COPIED cleared, one
 * more L1 table (returned) and a table of one entry at header.snapshots_off. */
uint64_t rig_snapshot(struct rig *r, const struct small *s);
/* The same L1 table contents written to its place again. */
void rig_write_l1(struct rig *r, uint64_t off);

/* One bitmap named @name: directory, table and one data cluster. */
struct rig_bitmap {
	uint64_t directory;
	uint64_t table;
	uint64_t data;
};
struct rig_bitmap rig_bitmap(struct rig *r, const char *name);

uint64_t rig_get64(struct rig *r, uint64_t off);
void rig_put64(struct rig *r, uint64_t off, uint64_t value);
void rig_put32(struct rig *r, uint64_t off, uint32_t value);
void rig_put(struct rig *r, uint64_t off, const void *p, size_t len);
/* Overwrites the stored refcount of the cluster at @off; after rig_finish(). */
void rig_poke_refcount(struct rig *r, uint64_t off, uint64_t refcount);

struct outcome *check_rig(struct rig *r);
struct outcome *check_any(struct qcow2_store *s,
			  const struct qcow2_check_opts *opts);

struct expected {
	int32_t defect;
	uint64_t host_off;
};

/* The check finds exactly these, in any order, notes left out; counts agree. */
void expect_list(struct rig *r, const struct expected *list, size_t n);

#define EXPECT(r, ...)                                                 \
	expect_list(r, (const struct expected[]){ __VA_ARGS__ },       \
		    sizeof((const struct expected[]){ __VA_ARGS__ }) / \
			    sizeof(struct expected))
#define EXPECT_CLEAN(r) expect_list(r, NULL, 0)

/* The image cannot be opened, for this reason. */
void expect_refused(struct rig *r, int code, int32_t defect);

#endif
