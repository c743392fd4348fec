#include "write/l1_grow.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/validate.h"
#include "commit/l1_switch.h"
#include "image/image.h"
#include "store/store.h"
#include "write/header_sector.h"
#include "write/writer.h"

/* One table, in the file and in memory, where it may end sooner. */
void l1_grow_validate(const struct image *img)
{
	const struct l1_table *l1 = &img->map.l1;

	assert(l1->n_entries <= img->header.l1_size);
	assert(l1->host_off == img->header.l1_off);
}

uint64_t l1_entries_in_file(const struct image *img)
{
	return max_u64(img->header.l1_size, img->map.l1.n_entries);
}

/* The entries of memory, and behind them those of the file. */
static int l1_grow_fill(const struct image *img, struct l1_switch *s,
			struct qcow2_error *err)
{
	const struct l1_table *old = &img->map.l1;
	uint64_t in_file = min_u64(l1_entries_in_file(img), s->to.n_entries);
	uint64_t n = min_u64(old->n_entries, s->to.n_entries);
	uint64_t bytes = (in_file - n) * L1_ENTRY_BYTES;
	CLEANUP_FREE uint8_t *raw = NULL;
	int rc;

	for (uint64_t i = 0; i < n; i++)
		s->to.entries[i] = old->entries[i];
	if (!bytes)
		return 0;
	raw = alloc_bytes(bytes);
	if (!raw)
		return error_nomem(err, "the L1 table", bytes);
	rc = store_pread(img->file, raw, to_size(bytes),
			 old->host_off + n * L1_ENTRY_BYTES, 0, err);
	for (uint64_t i = n; rc == 0 && i < in_file; i++)
		s->to.entries[i] = get_be64(raw + (i - n) * L1_ENTRY_BYTES);
	return rc;
}

/* L2 tables that were not known before must not be overwritten either. */
static int guard_new(struct image *img, const struct l1_switch *s,
		     struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = img->map.l1.n_entries; rc == 0 && i < s->to.n_entries;
	     i++) {
		uint64_t off = l1_table_off(s->to.entries[i]);

		if (off)
			rc = guard_add(&img->writer->guard,
				       QCOW2_OVERLAP_ACTIVE_L2, 1, off, err);
	}
	return rc;
}

static void l1_grow_point_to(struct header *h, void *opaque)
{
	const struct l1_table *to = opaque;

	h->l1_off = to->host_off;
	h->l1_size = (uint32_t)to->n_entries;
}

void l1_use(struct image *img, struct l1_switch *s)
{
	l1_switch_use(s, &img->writer->commit);
	map_forget_walk(&img->map);
}

/* The same while readers may look at the old table. */
static void use_longer(struct image *img, struct l1_switch *s)
{
	l1_use(img, s);
	l1_switch_retire(s, &img->writer->commit);
}

static int l1_grow_free_old(struct image *img, uint64_t bytes,
			    uint64_t host_off, struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	uint64_t n = geometry_clusters(&img->geo, bytes);
	int rc = n ? commit_begin(c, 1, err) : 0;

	if (rc < 0 || n == 0)
		return rc;
	guard_remove(&img->writer->guard, GUARD_TABLES, bytes, host_off);
	commit_free(c, (struct freed){ host_off, n, false });
	commit_end(c);
	return 0;
}

static void drop_table(struct image *img, const struct l1_switch *s)
{
	uint64_t bytes = s->to.n_entries * L1_ENTRY_BYTES;
	struct claim claim = {
		.host_off = s->to.host_off,
		.n_clusters = geometry_clusters(&img->geo, bytes),
	};

	guard_remove(&img->writer->guard, QCOW2_OVERLAP_ACTIVE_L1, bytes,
		     claim.host_off);
	header_sector_unclaim(img, &claim);
}

/* Everything up to the header; nothing of it shows after a crash. */
static int l1_grow_write_table(struct image *img, struct l1_switch *s,
			       struct qcow2_error *err)
{
	uint64_t bytes = s->to.n_entries * L1_ENTRY_BYTES;
	struct claim claim;
	int rc = refcounts_claim_row(&img->writer->refs,
				     geometry_clusters(&img->geo, bytes),
				     &claim, err);

	if (rc < 0)
		return rc;
	s->to.host_off = claim.host_off;
	rc = guard_add(&img->writer->guard, QCOW2_OVERLAP_ACTIVE_L1, bytes,
		       claim.host_off, err);
	if (rc == 0)
		rc = l1_switch_write(s, &img->writer->commit, err);
	/* Its refcounts, and with the same barrier the table. */
	if (rc == 0)
		rc = commit_flush(&img->writer->commit, err);
	if (rc < 0)
		drop_table(img, s);
	return rc;
}

static int l1_grow_move_table(struct image *img, struct l1_switch *s,
			      struct qcow2_error *err)
{
	uint64_t bytes = l1_entries_in_file(img) * L1_ENTRY_BYTES;
	uint64_t old_off = img->header.l1_off;
	int rc = l1_grow_write_table(img, s, err);

	if (rc < 0)
		return rc;
	rc = header_sector_update(img, l1_grow_point_to, &s->to, err);
	if (rc < 0) {
		drop_table(img, s);
		return rc;
	}
	use_longer(img, s);
	return l1_grow_free_old(img, bytes, old_off, err);
}

static int l1_grow_check_size(uint64_t n_entries, struct qcow2_error *err)
{
	if (n_entries <= L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES)
		return 0;
	return error_set(err, -EFBIG,
			 "the L1 table would take %" PRIu64
			 " bytes, the limit is %" PRIu64,
			 n_entries * L1_ENTRY_BYTES,
			 (uint64_t)L1_TABLE_BYTES_MAX);
}

int l1_lengthen(struct image *img, uint64_t n_entries, struct qcow2_error *err)
{
	bool moves = n_entries > l1_entries_in_file(img);
	struct l1_switch s;
	int rc = l1_grow_check_size(n_entries, err);

	IF_VALIDATING(l1_grow_validate(img));
	if (rc < 0 || n_entries <= img->map.l1.n_entries)
		return rc;
	rc = commit_flush(&img->writer->commit, err);
	if (rc == 0)
		rc = l1_switch_init(&s, n_entries, img->map.l1.host_off, err);
	if (rc < 0)
		return rc;
	rc = l1_grow_fill(img, &s, err);
	if (rc == 0)
		rc = guard_new(img, &s, err);
	if (rc == 0 && moves)
		rc = l1_grow_move_table(img, &s, err);
	else if (rc == 0)
		use_longer(img, &s);
	l1_switch_release(&s);
	IF_VALIDATING(l1_grow_validate(img));
	return rc;
}

int l1_shorten(struct image *img, uint64_t n_entries, struct qcow2_error *err)
{
	uint32_t cluster = img->geo.cluster_size;
	uint64_t old_bytes = l1_entries_in_file(img) * L1_ENTRY_BYTES;
	uint64_t new_bytes = n_entries * L1_ENTRY_BYTES;
	uint64_t off = img->header.l1_off;
	struct l1_switch s;
	int rc;

	IF_VALIDATING(l1_grow_validate(img));
	if (new_bytes >= old_bytes)
		return 0;
	rc = l1_switch_init(&s, n_entries, n_entries ? off : 0, err);
	if (rc < 0)
		return rc;
	rc = l1_grow_fill(img, &s, err);
	if (rc == 0)
		rc = header_sector_update(img, l1_grow_point_to, &s.to, err);
	if (rc == 0) {
		l1_use(img, &s);
		new_bytes = align_up(new_bytes, cluster);
		if (new_bytes < old_bytes)
			rc = l1_grow_free_old(img, old_bytes - new_bytes,
					      off + new_bytes, err);
	}
	l1_switch_release(&s);
	IF_VALIDATING(l1_grow_validate(img));
	return rc;
}
