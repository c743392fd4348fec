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

#include "check/bulk.h"
#include "check/l2set.h"
#include "check/refblocks.h"
#include "check/refs.h"
#include "check/report.h"
#include "format/extension.h"
#include "format/geometry.h"
#include "format/header.h"

struct check {
	struct qcow2_store *file;
	uint64_t file_size;
	struct header header;         /* without tail */
	struct geometry geo;
	bool has_bitmaps;             /* there, and not marked stale */
	bool has_crypto;
	struct bitmaps_ext bitmaps;
	struct crypto_ext crypto;
	struct report report;
	struct budget budget;
	struct bulk bulk;
	struct refs refs;
	struct refblocks refblocks;
	struct l2set l2_tables;
};

/* image.c: reads header and extensions into the context; fails for an image
 * that cannot be opened. */
int check_open(struct check *c, uint64_t virtual_bytes_max,
	       struct qcow2_error *err);

/* One claim to host clusters: [off, off + len) serves @use. */
struct claim {
	uint64_t off;
	uint64_t len;
	enum use use;
	uint32_t n;          /* how many times */
	uint64_t from;       /* host offset of the bytes that say so */
	enum defect beyond;  /* what it is to lie past the end of the file */
};

/*
 * claims.c: adds the references of a claim.  Returns 0; 1 when the claim ran
 * into another one or past the end of the file, which is then reported (the
 * rest of a table with one owner is not counted: it is not to be followed);
 * or a negative errno.
 */
int claim_clusters(struct check *c, const struct claim *claim,
		   struct qcow2_error *err);

/* crypto.c: the encryption header. */
int check_crypto(struct check *c, struct qcow2_error *err);

/* l1.c: one L1 table of @n_entries at @off; collects its L2 tables. */
int check_l1(struct check *c, uint64_t off, uint32_t n_entries, bool active,
	     struct qcow2_error *err);

/* l2.c: every L2 table that was collected, and the data they point to. */
int check_l2_tables(struct check *c, struct qcow2_error *err);

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
