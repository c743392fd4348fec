#include "snapshot/table.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "image/image.h"
#include "store/store.h"
#include "write/header_sector.h"
#include "write/overlap.h"
#include "write/writer.h"

static uint64_t n_clusters(const struct image *img, uint64_t bytes)
{
	return geometry_clusters(&img->geo, bytes);
}

int fresh_table_write(struct image *img, const uint8_t *buf, uint64_t bytes,
		      struct fresh_table *out, struct qcow2_error *err)
{
	uint64_t n = n_clusters(img, bytes);
	uint64_t len = n << img->geo.cluster_bits;
	struct claim claim;
	int rc;

	*out = (struct fresh_table){ 0 };
	if (!bytes)
		return 0;
	rc = refcounts_claim_row(&img->writer->refs, n, &claim, err);
	if (rc < 0)
		return rc;
	rc = overlap_check(img, len, claim.host_off, err);
	if (rc == 0)
		rc = store_pwrite(img->file, buf, to_size(len), claim.host_off,
				  0, err);
	if (rc == 0)
		rc = guard_add(&img->writer->guard, GUARD_TABLES, len,
			       claim.host_off, err);
	if (rc < 0) {
		refcounts_unclaim(&img->writer->refs, &claim);
		return rc;
	}
	assert(claim.n_clusters == n && claim.host_off);
	*out = (struct fresh_table){ claim.host_off, bytes };
	return 0;
}

void table_drop(struct image *img, const struct fresh_table *t)
{
	struct claim claim = { .host_off = t->host_off,
			       .n_clusters = n_clusters(img, t->bytes) };

	if (!t->bytes)
		return;
	assert(t->host_off && is_aligned(t->host_off, img->geo.cluster_size));
	guard_remove(&img->writer->guard, GUARD_TABLES, t->bytes, t->host_off);
	header_sector_unclaim(img, &claim);
}

int fresh_l1_write(struct image *img, const uint64_t *l1, uint64_t n,
		   uint64_t *host_off, struct qcow2_error *err)
{
	uint64_t bytes = n * L1_ENTRY_BYTES;
	uint64_t room = align_up(bytes, img->geo.cluster_size);
	CLEANUP_FREE uint8_t *raw = alloc_zeroed(1, room ? room : 1);
	struct fresh_table table;
	int rc;

	*host_off = 0;
	if (!raw)
		return error_nomem(err, "an L1 table", room);
	for (uint64_t i = 0; i < n; i++)
		put_be64(raw + i * L1_ENTRY_BYTES, l1[i] & ~ENTRY_COPIED);
	rc = fresh_table_write(img, raw, bytes, &table, err);
	if (rc == 0)
		*host_off = table.host_off;
	return rc;
}

void l1_table_drop(struct image *img, uint64_t n, uint64_t host_off)
{
	struct fresh_table table = { host_off, n * L1_ENTRY_BYTES };

	if (host_off)
		table_drop(img, &table);
}

int snapshot_table_write(struct image *img, const struct snapshots *s,
			 struct fresh_table *out, struct qcow2_error *err)
{
	uint64_t bytes = snapshots_bytes(s);
	CLEANUP_FREE uint8_t *buf = NULL;

	if (bytes > SNAPSHOT_TABLE_BYTES_MAX)
		return error_set(err, -EFBIG,
				 "the snapshot table would take %" PRIu64
				 " bytes, the limit is %" PRIu64,
				 bytes, SNAPSHOT_TABLE_BYTES_MAX);
	buf = alloc_zeroed(n_clusters(img, bytes) + 1, img->geo.cluster_size);
	if (!buf)
		return error_nomem(err, "the snapshot table", bytes);
	snapshots_encode(s, buf, bytes);
	return fresh_table_write(img, buf, bytes, out, err);
}

struct place {
	uint32_t n;
	uint64_t host_off;
};

static void snapshot_table_set_place(struct header *h, void *opaque)
{
	const struct place *p = opaque;

	h->n_snapshots = p->n;
	h->snapshots_off = p->host_off;
}

/* Takes @s over. */
static void replace_list(struct image *img, struct snapshots *s)
{
	SCOPED_LOCK(&img->list_lock);

	free(img->snapshots.list);
	img->snapshots = *s;
	*s = (struct snapshots){ 0 };
}

int snapshot_table_switch(struct image *img, struct snapshots *s,
			  struct fresh_table *t, struct qcow2_error *err)
{
	struct fresh_table old = { img->header.snapshots_off,
				   img->snapshots.table_bytes };
	struct place to = { s->n, t->host_off };
	SCOPED_VALIDATE(snapshots, s);
	int rc = commit_flush(&img->writer->commit, err);

	if (rc == 0)
		rc = header_sector_update(img, snapshot_table_set_place, &to,
					  err);
	if (rc < 0) {
		table_drop(img, t);
		*t = (struct fresh_table){ 0 };
		return rc;
	}
	/* The new table lies beside the old one. */
	assert(!t->bytes || t->host_off != old.host_off);
	s->table_bytes = t->bytes;
	replace_list(img, s);
	table_drop(img, &old);
	return 0;
}
