/*
 * Images whose refcounts are too low, in every place where they can be.
 */
#ifndef UNIT_WRITE_PROOF_RIG_H
#define UNIT_WRITE_PROOF_RIG_H

#include "unit/snapshot/rig.h"

#include <errno.h>

#include "api/handle.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "chain/disk_impl.h"
#include "format/geometry.h"
#include "format/l2.h"
#include "format/refcount.h"
#include "image/image.h"
#include "write/writer.h"

enum { DISK = 1024 * 1024, LONGER = DISK + 64 * 1024 };

/* ---- Refcounts as they lie in the file ----------------------------------- */

struct raw {
	struct qcow2_store *store;
	struct header header;
	struct geometry geo;
	uint64_t n_clusters;
};

static inline void raw_open(struct raw *w, struct rig *r)
{
	uint8_t buf[512];
	uint64_t size;

	w->store = r->store;
	assert_int_equal(store_pread(r->store, buf, 512, 0, 0, NULL), 0);
	assert_int_equal(header_decode(&w->header, buf, 512, NULL), 0);
	geometry_init(&w->geo, &w->header);
	assert_int_equal(store_size(r->store, &size, NULL), 0);
	w->n_clusters = geometry_clusters(&w->geo, size);
}

static inline uint64_t raw_get(const struct raw *w, uint64_t off)
{
	uint8_t buf[8];

	assert_int_equal(store_pread(w->store, buf, 8, off, 0, NULL), 0);
	return get_be64(buf);
}

static inline void raw_put(const struct raw *w, uint64_t value, uint64_t off)
{
	uint8_t buf[8];

	put_be64(buf, value);
	assert_int_equal(store_pwrite(w->store, buf, 8, off, 0, NULL), 0);
}

/* The place of the block of a cluster. */
static inline uint64_t raw_block(const struct raw *w, uint64_t cluster_idx)
{
	return raw_get(w,
		       w->header.refcount_table_off +
			       8 * (cluster_idx >> w->geo.refcount_block_bits));
}

static inline uint64_t change_count(const struct raw *w, uint64_t cluster_idx,
				    uint64_t most)
{
	uint64_t block = raw_block(w, cluster_idx);
	uint64_t in = cluster_idx &
		      ((UINT64_C(1) << w->geo.refcount_block_bits) - 1);
	uint8_t *bytes = malloc(w->geo.cluster_size);
	uint64_t old;

	assert_non_null(bytes);
	assert_int_equal(store_pread(w->store, bytes, w->geo.cluster_size,
				     block, 0, NULL),
			 0);
	old = refcount_get(bytes, in, w->geo.refcount_order);
	refcount_put(bytes, in, w->geo.refcount_order, min_u64(old, most));
	assert_int_equal(store_pwrite(w->store, bytes, w->geo.cluster_size,
				      block, 0, NULL),
			 0);
	free(bytes);
	return old;
}

/* ---- Damage -------------------------------------------------------------- */

static inline void nothing_counts(const struct raw *w)
{
	for (uint64_t i = 0; i < w->n_clusters; i++)
		change_count(w, i, 0);
}

static inline void the_tail_does_not_count(const struct raw *w)
{
	for (uint64_t i = w->n_clusters / 2; i < w->n_clusters; i++)
		change_count(w, i, 0);
}

static inline void no_blocks(const struct raw *w)
{
	uint64_t n = (uint64_t)w->header.refcount_table_clusters
		     << w->geo.cluster_bits;

	for (uint64_t i = 0; i < n; i += 8)
		raw_put(w, 0, w->header.refcount_table_off + i);
}

static inline void the_first_block_is_missing(const struct raw *w)
{
	raw_put(w, 0, w->header.refcount_table_off);
}

static inline void snapshots_do_not_count(const struct raw *w)
{
	for (uint64_t i = 0; i < w->n_clusters; i++)
		change_count(w, i, 1);
}

static inline void tables_do_not_count(const struct raw *w)
{
	uint64_t at[] = { 0,
			  w->header.l1_off,
			  w->header.refcount_table_off,
			  w->header.snapshots_off,
			  raw_block(w, 0),
			  raw_get(w, w->header.l1_off) & ENTRY_OFFSET_MASK };

	if (w->header.n_snapshots) {
		uint64_t l1 = raw_get(w, w->header.snapshots_off);

		change_count(w, l1 >> w->geo.cluster_bits, 0);
		change_count(w,
			     (raw_get(w, l1) & ENTRY_OFFSET_MASK) >>
				     w->geo.cluster_bits,
			     0);
	}
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		change_count(w, at[i] >> w->geo.cluster_bits, 0);
}

/* Entries that promise to be alone, and refcounts that agree with them: a
 * snapshot after whose making half of the writes were lost. */
static inline void flags_lie(const struct raw *w)
{
	uint64_t l1 = raw_get(w, w->header.l1_off);
	uint64_t l2 = l1 & ENTRY_OFFSET_MASK;

	snapshots_do_not_count(w);
	raw_put(w, l1 | ENTRY_COPIED, w->header.l1_off);
	for (uint64_t i = 0; i < w->geo.cluster_size;
	     i += w->geo.l2_entry_bytes) {
		uint64_t e = raw_get(w, l2 + i);

		if ((e & ENTRY_OFFSET_MASK) && !(e & L2_COMPRESSED))
			raw_put(w, e | ENTRY_COPIED, l2 + i);
	}
}

static void (*const damages[])(const struct raw *w) = {
	nothing_counts,
	the_tail_does_not_count,
	no_blocks,
	the_first_block_is_missing,
	snapshots_do_not_count,
	tables_do_not_count,
	flags_lie,
};

enum { N_DAMAGES = sizeof(damages) / sizeof(damages[0]) };

/* ---- Images -------------------------------------------------------------- */

struct want {
	uint32_t version;
	uint32_t cluster_size;
	uint32_t refcount_bits;
	bool extended;
	bool snapshot;
};

static const struct want wants[] = {
	{ 3, 4096, 16, false, true }, { 2, 4096, 16, false, true },
	{ 3, 512, 64, false, true },  { 3, 512, 16, false, false },
	{ 3, 4096, 1, false, false }, { 3, 4096, 2, false, true },
	{ 3, 4096, 4, false, true },  { 3, 65536, 8, false, true },
	{ 3, 4096, 32, false, true }, { 3, 4096, 64, false, false },
	{ 3, 16384, 16, true, true },
};

enum { N_WANTS = sizeof(wants) / sizeof(wants[0]) };

static uint8_t *old_disk; /* contents of the snapshot */

static inline void compress(struct rig *r, uint8_t value, uint64_t off)
{
	uint32_t size = r->create.cluster_size;

	memset(r->disk + off, value, size);
	assert_int_equal(qcow2_write_compressed(r->img, r->disk + off, size,
						off, 0, NULL),
			 0);
}

static inline void release(struct rig *r)
{
	rig_release(r);
	free(old_disk);
	old_disk = NULL;
}

/* Data, compressed data at the end, a hole that is free; a snapshot, and after
 * it data that only the disk has, and data that only the snapshot has. */
static inline void make(struct rig *r, const struct want *w)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	uint32_t c = w->cluster_size;

	o.version = w->version;
	o.cluster_size = c;
	o.refcount_bits = w->refcount_bits;
	o.flags = w->extended ? QCOW2_CREATE_EXTENDED_L2 : 0;
	rig_init(r, LONGER, &o);
	for (uint64_t i = 0; i < 6; i++)
		rig_write(r, (uint8_t)(i + 1), c, i * c);
	compress(r, 50, 6 * c);
	if (w->snapshot) {
		rig_create(r, "s");
		old_disk = rig_copy(r);
		rig_write(r, 60, c, 0);
		rig_write(r, 61, c, 7 * c);
		rig_write(r, 62, c, 8 * c);
		memset(r->disk + 8 * c, 0, c);
		assert_int_equal(qcow2_discard(r->img, c, 8 * c, 0, NULL), 0);
	}
	compress(r, 51, 9 * c);
	rig_close(r);
	rig_check(r);
}

static inline void damage(struct rig *r, void (*fn)(const struct raw *w))
{
	struct raw w;

	raw_open(&w, r);
	fn(&w);
}

static inline uint8_t *bytes_of(struct rig *r, uint64_t *size)
{
	uint8_t *bytes;

	assert_int_equal(store_size(r->store, size, NULL), 0);
	bytes = malloc(*size);
	assert_non_null(bytes);
	assert_int_equal(store_pread(r->store, bytes, *size, 0, 0, NULL), 0);
	return bytes;
}

static inline struct proof *proof_of(struct rig *r)
{
	return &r->img->disk->layers[0].image->writer->proof;
}

static inline void expect_all(struct rig *r)
{
	rig_expect_view(r, NULL, r->disk, r->size);
	if (old_disk)
		rig_expect_view(r, "s", old_disk, r->size);
}

#endif
