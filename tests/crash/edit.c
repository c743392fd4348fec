#include "crash/edit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cursor.h"
#include "crash/cowstore.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/l2.h"
#include "format/refcount.h"
#include "format/snapshot.h"
#include "store/store.h"

struct edit {
	struct qcow2_store *file;
	struct header h;
	struct geometry g;
};

static void get(const struct edit *e, void *buf, size_t len, uint64_t off)
{
	int rc = store_pread(e->file, buf, len, off, 0, NULL);

	assert(rc == 0);
	(void)rc;
}

static void put(const struct edit *e, const void *buf, size_t len, uint64_t off)
{
	int rc = store_pwrite(e->file, buf, len, off, 0, NULL);

	assert(rc == 0);
	(void)rc;
}

static uint64_t get64(const struct edit *e, uint64_t off)
{
	uint8_t raw[8];

	get(e, raw, sizeof(raw), off);
	return get_be64(raw);
}

static void put64(const struct edit *e, uint64_t v, uint64_t off)
{
	uint8_t raw[8];

	put_be64(raw, v);
	put(e, raw, sizeof(raw), off);
}

static struct edit edit_begin(struct qcow2_store *file)
{
	struct edit e = { .file = file };
	uint8_t raw[512];
	struct fault fault;
	enum defect bad;

	get(&e, raw, sizeof(raw), 0);
	bad = header_decode(&e.h, raw, sizeof(raw), &fault);
	assert(bad == DEFECT_NONE);
	(void)bad;
	geometry_init(&e.g, &e.h);
	return e;
}

/* ---- Refcounts ----------------------------------------------------------- */

/* The block that describes a cluster; 0 if there is none. */
static uint64_t block_of(const struct edit *e, uint64_t cluster_idx)
{
	uint64_t i = cluster_idx >> e->g.refcount_block_bits;
	uint64_t n =
		((uint64_t)e->h.refcount_table_clusters << e->g.cluster_bits) /
		8;

	return i < n ? get64(e, e->h.refcount_table_off + 8 * i) : 0;
}

static uint64_t add_refcount(const struct edit *e, uint64_t cluster_idx,
			     uint64_t add)
{
	uint64_t block = block_of(e, cluster_idx);
	uint64_t i = cluster_idx &
		     ((UINT64_C(1) << e->g.refcount_block_bits) - 1);
	uint8_t *raw = malloc(e->g.cluster_size);
	uint64_t old;

	assert(block && raw);
	get(e, raw, e->g.cluster_size, block);
	old = refcount_get(raw, i, e->g.refcount_order);
	if (add)
		refcount_put(raw, i, e->g.refcount_order, old + add);
	put(e, raw, e->g.cluster_size, block);
	free(raw);
	return old;
}

static uint64_t take_cluster(const struct edit *e)
{
	uint64_t i = div_round_up(cow_size(e->file), e->g.cluster_size);
	int rc = store_truncate(e->file, (i + 1) << e->g.cluster_bits, NULL);

	assert(rc == 0);
	(void)rc;
	while (add_refcount(e, i, 0))
		i++;
	add_refcount(e, i, 1);
	return i << e->g.cluster_bits;
}

void edit_fill(struct qcow2_store *file, enum base_fill fill)
{
	struct edit e = edit_begin(file);
	uint64_t n_entries =
		((uint64_t)e.h.refcount_table_clusters << e.g.cluster_bits) / 8;
	uint64_t end = 0, left = fill == FILL_BLOCK ? 5 : 0;
	int rc;

	while (block_of(&e, end))
		end += UINT64_C(1) << e.g.refcount_block_bits;
	if (fill == FILL_HOLES)
		end = min_u64(end, 120);
	if (fill == FILL_FILE)
		end = div_round_up(cow_size(file), e.g.cluster_size);
	for (uint64_t i = 0; i < end - left; i++)
		if (add_refcount(&e, i, 0) == 0 &&
		    (fill != FILL_HOLES || i % 2))
			add_refcount(&e, i, 1);
	if (fill == FILL_TABLE)
		end = n_entries << e.g.refcount_block_bits;
	rc = store_truncate(file, (end - left) << e.g.cluster_bits, NULL);
	assert(rc == 0);
	(void)rc;
}

/* ---- Snapshots ----------------------------------------------------------- */

static void share_range(const struct edit *e, uint64_t off, uint64_t len)
{
	uint64_t first = off >> e->g.cluster_bits;
	uint64_t last = (off + len - 1) >> e->g.cluster_bits;

	for (uint64_t i = first; i <= last; i++)
		add_refcount(e, i, 1);
}

static void share_entry(const struct edit *e, uint64_t off)
{
	struct l2_entry entry = { get64(e, off), 0 };

	if (entry.desc & L2_COMPRESSED) {
		struct compressed c = compressed_decode(&e->g, entry.desc);

		share_range(e, c.host_off, c.len);
		return;
	}
	if (!l2_host_off(entry))
		return;
	share_range(e, l2_host_off(entry), 1);
	put64(e, entry.desc & ~ENTRY_COPIED, off);
}

static void share_tables(const struct edit *e)
{
	for (uint32_t i = 0; i < e->h.l1_size; i++) {
		uint64_t at = e->h.l1_off + 8 * (uint64_t)i;
		uint64_t table = get64(e, at) & ~ENTRY_COPIED;

		if (!table)
			continue;
		share_range(e, table, 1);
		put64(e, table, at);
		for (uint32_t k = 0; k < e->g.cluster_size;
		     k += e->g.l2_entry_bytes)
			share_entry(e, table + k);
	}
}

/* Makes the entry one of early versions; returns its length. */
static size_t drop_extra(uint8_t *entry, size_t len)
{
	size_t rest = SNAPSHOT_HEADER_BYTES;
	uint8_t *extra_len = entry + rest - 4;
	uint32_t extra = get_be32(extra_len);

	put_be32(extra_len, 0);
	memmove(entry + rest, entry + rest + extra, len - rest - extra);
	return len - extra;
}

void edit_add_snapshot(struct qcow2_store *file, bool old)
{
	struct edit e = edit_begin(file);
	struct snapshot s = {
		.l1_size = e.h.l1_size,
		.id_len = 1,
		.name_len = 4,
		.id = "1",
		.name = "snap",
		.disk_size = e.h.size,
		.icount = UINT64_MAX,
	};
	uint64_t table = take_cluster(&e);
	uint8_t buf[200], counts[12];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));

	share_tables(&e);
	s.l1_off = take_cluster(&e);
	for (uint32_t i = 0; i < e.h.l1_size; i++)
		put64(&e, get64(&e, e.h.l1_off + 8 * (uint64_t)i),
		      s.l1_off + 8 * (uint64_t)i);
	snapshot_encode(&w, &s);
	put(&e, buf,
	    old ? drop_extra(buf, byte_writer_len(&w)) : byte_writer_len(&w),
	    table);
	put_be32(counts, 1);
	put_be64(counts + 4, table);
	put(&e, counts, sizeof(counts), 60);
}

uint32_t edit_zero_shared(struct qcow2_store *file)
{
	struct edit e = edit_begin(file);
	uint64_t table = get64(&e, e.h.l1_off) & ~ENTRY_COPIED;
	uint32_t i = 0;
	uint64_t desc;

	/* This looks for an entry without COPIED in a table that has a copy of
	 * its own. */
	for (;; i++) {
		desc = get64(&e, table + i * e.g.l2_entry_bytes);
		if ((desc & ENTRY_OFFSET_MASK) && !(desc & ENTRY_COPIED))
			break;
	}
	put64(&e, desc | L2_ZERO, table + i * e.g.l2_entry_bytes);
	return i;
}

void edit_set_autoclear(struct qcow2_store *file)
{
	struct edit e = edit_begin(file);

	put64(&e, e.h.autoclear_features | UINT64_C(1) << 5,
	      HEADER_OFF_AUTOCLEAR);
}

void edit_damage_entry(struct qcow2_store *file)
{
	struct edit e = edit_begin(file);
	uint64_t table = get64(&e, e.h.l1_off) & ~ENTRY_COPIED;

	assert(table);
	put64(&e, ENTRY_COPIED | UINT64_C(1) << 50, table);
}

void edit_lower(struct qcow2_store *file)
{
	struct edit e = edit_begin(file);
	uint64_t n = UINT64_C(1) << e.g.refcount_block_bits;
	uint8_t zeros[4096] = { 0 };

	assert(e.g.cluster_size <= sizeof(zeros));
	for (uint64_t i = 0; block_of(&e, i); i += n) {
		int rc = store_pwrite(file, zeros, e.g.cluster_size,
				      block_of(&e, i), 0, NULL);

		assert(rc == 0);
		(void)rc;
	}
}
