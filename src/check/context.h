/*
 * The state of one check, and the steps that share it.
 *
 * The order of the steps matters (check.c): everything that has one owner is
 * counted before L2 tables, and these before guest data, so that of two claims
 * to a cluster the less trustworthy one is the second and gets the blame; the
 * stored refcounts are known before the flags that depend on them are looked
 * at.
 *
 * Steps return 0 or a negative errno, which ends the check: no memory, budget
 * exceeded, cancelled, or a table unreadable without which nothing can be
 * said.  Everything else is a finding.
 */
#ifndef CHECK_CONTEXT_H
#define CHECK_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/validate.h"
#include "check/bulk.h"
#include "check/l2set.h"
#include "check/refblocks.h"
#include "check/refs.h"
#include "check/report.h"
#include "format/extension.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/snapshot.h"

/* For repair, which asks what the image would be without some of its parts, and
 * for the proof. */
struct check_mode {
	/* Header damage that -r all repairs is a finding, not an error. */
	bool tolerant;
	/* Refcounts that are too narrow are to be told as repaired. */
	bool any_width;
	/* Snapshots whose L1 table is the active one get copies of it. */
	bool split_l1;
	/* There is no refcount table. */
	bool no_refcounts;
	/* The snapshot table is about to be replaced by one that ends where
	 * this one can no longer be followed. */
	bool no_snapshot_table;
	/* No thread but the caller's. */
	bool one_thread;
	/* Bitmaps that are marked stale count all the same. */
	bool with_bitmaps;
	/* Compressed data that begins in the file and is said to end behind it
	 * is no finding: readers and writers take what the file has of it. */
	bool long_compressed;
};

/* Tells whether the number of snapshots can be trusted. */
enum snapshots_count {
	COUNT_GOOD,
	COUNT_CAPPED,  /* more than there may be: as many as there may be */
	COUNT_MADE_UP, /* more than the file has room for: as it has */
};

/* An L1 table that was followed. */
struct l1_place {
	uint64_t off;
	uint32_t n_entries;
	bool active;
};

struct l1_places {
	struct l1_place *places;
	size_t n;
	size_t capacity;
	/* Of tables of snapshots that are the active one too. */
	uint64_t n_shared_clusters;
};

/* Of an entry whose extra data has the length that is allowed. */
#define SNAPSHOT_ENTRY_BYTES_MAX \
	(SNAPSHOT_HEADER_BYTES + SNAPSHOT_EXTRA_BYTES_MAX + 2 * 65535 + 8)

struct check {
	struct qcow2_store *file;
	struct check_mode mode;
	uint64_t file_size;
	struct header header; /* without tail */
	struct geometry geo;
	bool refcounts_dropped; /* the table is out of place */
	bool l1_doubted;        /* the L1 table lay in the dropped one */
	enum snapshots_count snapshots_count;
	bool has_bitmaps; /* there, and not marked stale */
	bool has_crypto;
	struct bitmaps_ext bitmaps;
	struct crypto_ext crypto;
	struct report report;
	struct budget budget;
	struct bulk bulk;
	struct refs refs;
	struct refblocks refblocks;
	struct l1_places l1_tables;
	uint8_t *long_entry; /* of the snapshot table, shortened */
	struct l2set l2_tables;
};

/* No other thread may be at work for the check. */
VALIDATOR(check);

/*
 * check.c: check_store() in parts, for repair.  check_begin() sets everything
 * up but the file is not looked at; check_run() goes through the image, and
 * leaves in *@c what it learnt, whatever it returns.
 */
void check_begin(struct check *c, struct qcow2_store *file,
		 const struct qcow2_check_opts *opts,
		 struct qcow2_check_result *result);
int check_run(struct check *c, struct qcow2_error *err);
void check_end(struct check *c);

/* image.c: reads header and extensions into the context; fails for an image
 * that cannot be opened. */
int check_open(struct check *c, uint64_t virtual_bytes_max,
	       struct qcow2_error *err);

/* One claim to host clusters: [off, off + len) serves @use.  Nothing, at a
 * place inside the file, is a claim to no cluster. */
struct use_claim {
	uint64_t off;
	uint64_t len;
	enum use use;
	uint32_t n;         /* how many times */
	uint64_t from;      /* host offset of the bytes that say so */
	enum defect beyond; /* what it is to lie past the end of the file */
};

/*
 * claims.c: adds the references of a claim.  Returns 0; 1 when the claim ran
 * into another one or past the end of the file, which is then reported (the
 * rest of a table with one owner is not counted: it is not to be followed);
 * or a negative errno.
 */
int claim_clusters(struct check *c, const struct use_claim *claim,
		   struct qcow2_error *err);

/* crypto.c: the encryption header. */
int check_crypto(struct check *c, struct qcow2_error *err);

/* l1.c: one L1 table of @n_entries at @off; collects its L2 tables. */
int check_l1(struct check *c, uint64_t off, uint32_t n_entries, bool active,
	     struct qcow2_error *err);

/* l2.c: every L2 table that was collected, and the data they point to. */
int check_l2_tables(struct check *c, struct qcow2_error *err);

/*
 * snapshots.c: decodes the snapshot table entry at *off and moves *off past it.
 * The entry's pointers are valid until the next read.  1: the table cannot be
 * followed any further, and *bad says why; else *bad is DEFECT_NONE, or
 * DEFECT_SNAPSHOT_EXTRA_SIZE when extra data was left out.
 */
int check_snapshot_entry(struct check *c, uint64_t *off, struct snapshot *s,
			 enum defect *bad, struct qcow2_error *err);

/* snapshots.c: whether the L1 table of a snapshot is the active one, or the
 * beginning of it. */
bool check_shares_l1(const struct check *c, uint64_t l1_off,
		     uint32_t n_entries);

/* snapshots.c: the snapshot table and the L1 tables it names. */
int check_snapshots(struct check *c, struct qcow2_error *err);

/* bitmaps.c: the bitmap directory, tables and data. */
int check_bitmaps(struct check *c, struct qcow2_error *err);

/* compare.c: stored refcounts against references. */
int check_compare(struct check *c, struct qcow2_error *err);

static inline uint64_t check_cluster(const struct check *c, uint64_t host_off)
{
	return host_off >> c->geo.cluster_bits;
}

#endif
