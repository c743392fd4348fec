/*
 * The state of one dump, and the steps that share it.
 *
 * An image is dumped because something is wrong with it.  So nothing is refused
 * that can be told in some way: a field that breaks a rule is told with the
 * rule beside it, and only what was asked for is read.  The header is the
 * exception: everything else is found by it, and so every dump begins with
 * those of its fields that break a rule.
 *
 * Steps return 0 or a negative errno, which ends the dump.
 */
#ifndef DUMP_CONTEXT_H
#define DUMP_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dump/record.h"
#include "format/extension.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/l2.h"

#define CLUSTER_BYTES_MAX (UINT64_C(1) << CLUSTER_BITS_MAX)

/* One defect for each 32-bit word of the header. */
#define HEADER_WORDS (HEADER_LENGTH_V3 / 4)

/* An L1 table, of the disk or of a snapshot. */
struct dump_l1_place {
	uint64_t off;
	uint32_t n;
	uint64_t disk_size;
};

struct dump {
	struct qcow2_store *file;
	struct teller teller;
	struct record record;
	uint64_t file_size;
	uint64_t n_read; /* bytes of tables, or entries */
	/* The first cluster, of which the file has @head_len bytes.  If a field
	 * makes decoding impossible, @head has a possible value instead; the
	 * original stays in @found. */
	uint8_t *head;
	size_t head_len;
	uint8_t found[HEADER_LENGTH_V3];
	enum defect bad[HEADER_WORDS];
	bool no_header;       /* the file is too short for one */
	bool no_cluster_bits; /* they say nothing, and so nothing is found */
	bool no_refcount_order;
	struct header header;
	struct geometry geo;
	struct extensions extensions;  /* as far as they can be decoded */
	struct fault extensions_fault; /* and why no further */
	struct dump_l1_place l1;
};

static inline int dump_tell(struct dump *d, struct qcow2_error *err)
{
	return record_tell(&d->record, &d->teller, err);
}

/* dump.c: @len bytes at @off with @n entries; behind the end of the file they
 * are zeros.  -E2BIG when there have been too many of either. */
int dump_read(struct dump *d, void *buf, size_t len, uint64_t off, uint64_t n,
	      struct qcow2_error *err);

/* open.c: reads the first cluster and decodes what it can.  Fails only where
 * reading does. */
int dump_open(struct dump *d, struct qcow2_error *err);

/* header.c: the fields; only those with defects, unless @all. */
int dump_fields(struct dump *d, bool all, struct qcow2_error *err);
/* The header, its extensions, and where everything else is. */
int dump_header(struct dump *d, struct qcow2_error *err);

/* extensions.c */
int dump_extensions(struct dump *d, struct qcow2_error *err);

/* luks.c: the contents of the encryption header at @off, without keys. */
int dump_luks(struct dump *d, uint64_t off, uint64_t len,
	      struct qcow2_error *err);

/* l1.c: the table as one record. */
int dump_l1_place(struct dump *d, struct qcow2_error *err);
int dump_l1(struct dump *d, struct qcow2_error *err);
/* Entry @index, told and in *entry; *there false: the file does not have it. */
int dump_l1_entry(struct dump *d, uint64_t index, uint64_t *entry, bool *there,
		  struct qcow2_error *err);

/* l2.c: the table of the L1 entry that the caller names. */
int dump_l2(struct dump *d, struct qcow2_error *err);
/* Entry @index of the table at @table, likewise. */
int dump_l2_entry(struct dump *d, uint64_t table, uint64_t l1_index,
		  uint64_t index, struct l2_entry *e, bool *there,
		  struct qcow2_error *err);

/* refcounts.c */
int dump_refcounts_place(struct dump *d, struct qcow2_error *err);
int dump_refcounts(struct dump *d, struct qcow2_error *err);
/* The claim of an entry about the refcount of the cluster it refers to. */
enum copied {
	COPIED_CLEAR,
	COPIED_SET,
	COPIED_SAYS_NOTHING,
};

/* The way to the refcount of the cluster at @host_off. */
int dump_refcount(struct dump *d, uint64_t host_off, enum copied copied,
		  struct qcow2_error *err);

/* snapshots.c */
int dump_snapshots_place(struct dump *d, struct qcow2_error *err);
int dump_snapshots(struct dump *d, struct qcow2_error *err);
/* Makes the L1 table of the snapshot that the caller names the one that is
 * dumped. */
int dump_choose_snapshot(struct dump *d, struct qcow2_error *err);

/* bitmaps.c */
int dump_bitmaps_place(struct dump *d, struct qcow2_error *err);
int dump_bitmaps(struct dump *d, struct qcow2_error *err);

/* entry.c: the whole way from a guest offset to the refcount. */
int dump_entry(struct dump *d, struct qcow2_error *err);

#endif
