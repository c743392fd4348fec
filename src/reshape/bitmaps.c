#include "reshape/bitmaps.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "commit/freed.h"
#include "format/bitmap.h"
#include "format/fault_error.h"
#include "image/image.h"
#include "store/store.h"
#include "write/header_sector.h"
#include "write/overlap.h"
#include "write/writer.h"

/* "All bits are 1" in a table entry. */
#define ENTRY_ONES UINT64_C(1)

/* One bitmap on its way to another size. */
struct work {
	struct bitmaps_resize *r;
	struct bitmap bitmap; /* as the directory has it */
	uint64_t *table;      /* as long as the longer of both */
	uint64_t n_old;
	uint64_t n_new;
	bool changes;
};

void bitmaps_resize_validate(const struct bitmaps_resize *r)
{
	uint64_t size = r->img->geo.cluster_size;

	/* "The bitmaps may stay as they are": nothing is new or old then. */
	assert(r->changes || (!r->n_fresh && !r->stale.n));
	assert(implies(r->n_fresh, r->fresh));
	assert(is_aligned(r->place.directory_off, size));
	for (size_t i = 0; i < r->n_fresh; i++) {
		assert(r->fresh[i].n_clusters);
		assert(is_aligned(r->fresh[i].host_off, size));
	}
	for (size_t i = 0; i < r->stale.n; i++)
		assert(is_aligned(r->stale.list[i].host_off, size) &&
		       r->stale.list[i].n_clusters);
}

/* ---- What is refused ----------------------------------------------------- */

/* Software that trusts them now would trust them after the resize too. */
static bool are_valid(const struct image *img)
{
	return (img->header.autoclear_features & AUTOCLEAR_BITMAPS) &&
	       atomic_load(&img->writer->bitmaps_valid);
}

static int check_one(const struct image *img, const struct bitmap_entry *b,
		     uint64_t size, struct qcow2_error *err)
{
	uint64_t n = bitmap_table_entries(&img->geo, size, b->granularity_bits);
	uint64_t max = min_u64(BITMAP_TABLE_ENTRIES_MAX,
			       BITMAP_DATA_BYTES_MAX >> img->geo.cluster_bits);

	if (b->flags & QCOW2_BITMAP_IN_USE)
		return error_set(err, -ENOTSUP,
				 "the persistent bitmap \"%s\" is inconsistent "
				 "(in use): remove it before the image is "
				 "resized",
				 TEXT(b->name, strlen(b->name)));
	if (n == 0)
		return error_set(err, -ENOTSUP,
				 "the persistent bitmap \"%s\" cannot have the "
				 "size 0: remove it first",
				 TEXT(b->name, strlen(b->name)));
	if (n > max)
		return error_set(err, -EFBIG,
				 "the table of the persistent bitmap \"%s\" "
				 "would have %" PRIu64 " entries, the limit "
				 "is %" PRIu64,
				 TEXT(b->name, strlen(b->name)), n, max);
	return 0;
}

int bitmaps_resize_check(const struct image *img, uint64_t size,
			 struct qcow2_error *err)
{
	int rc = 0;

	if (!are_valid(img))
		return 0;
	if (img->bitmaps.defect)
		return error_defect(err, -EIO, (int)img->bitmaps.defect,
				    UINT64_MAX,
				    "the image has persistent bitmaps that "
				    "cannot be resized: %s",
				    defect_info(img->bitmaps.defect)->text);
	for (uint32_t i = 0; rc == 0 && i < img->bitmaps.n; i++)
		rc = check_one(img, &img->bitmaps.list[i], size, err);
	return rc;
}

/* ---- New and old clusters ------------------------------------------------ */

/* @buf has room for whole clusters. */
static int write_fresh(struct bitmaps_resize *r, const uint8_t *buf,
		       uint64_t bytes, uint64_t *host_off,
		       struct qcow2_error *err)
{
	struct image *img = r->img;
	uint64_t n = geometry_clusters(&img->geo, bytes);
	uint64_t len = n << img->geo.cluster_bits;
	struct claim *claim = &r->fresh[r->n_fresh];
	int rc = refcounts_claim_row(&img->writer->refs, n, claim, err);

	if (rc < 0)
		return rc;
	r->n_fresh++;
	*host_off = claim->host_off;
	rc = overlap_check(img, len, claim->host_off, err);
	if (rc == 0)
		rc = store_pwrite(img->file, buf, to_size(len), claim->host_off,
				  0, err);
	return rc;
}

/* A damaged bitmap must not make clusters free that have another use. */
static int add_stale(struct bitmaps_resize *r, uint64_t bytes,
		     uint64_t host_off, struct qcow2_error *err)
{
	const struct geometry *g = &r->img->geo;
	uint64_t n = geometry_clusters(g, bytes);
	int rc;

	if (guard_hits(&r->img->writer->guard, n << g->cluster_bits, host_off))
		return error_defect(err, -EIO, DEFECT_BITMAP_TABLE_ENTRY,
				    host_off,
				    "a persistent bitmap claims a cluster of "
				    "the image's metadata");
	rc = freed_reserve(&r->stale, 1, err);
	if (rc == 0)
		freed_add(&r->stale, g->cluster_bits,
			  (struct freed){ host_off, n, false });
	return rc;
}

static int entry_kind(const struct work *w, uint64_t i,
		      enum bitmap_cluster_kind *kind, uint64_t *host_off,
		      struct qcow2_error *err)
{
	*kind = bitmap_table_entry(&w->r->img->geo, w->table[i],
				   image_file_end(w->r->img), host_off);
	if (*kind != BITMAP_CLUSTER_INVALID)
		return 0;
	return error_defect(err, -EIO, DEFECT_BITMAP_TABLE_ENTRY,
			    w->bitmap.table_off + i * BITMAP_TABLE_ENTRY_BYTES,
			    "entry %" PRIu64 " of the table of the persistent "
			    "bitmap \"%s\" is 0x%" PRIx64,
			    i, TEXT(w->bitmap.name, w->bitmap.name_len),
			    w->table[i]);
}

/* ---- The cluster in which the smaller disk ends -------------------------- */

/* Keeps the first @n_bits of @buf; false when the others were 0 already. */
static bool cut_bits(uint8_t *buf, size_t len, uint64_t n_bits)
{
	size_t i = to_size(n_bits / 8);
	bool cut = false;

	if (n_bits % 8) {
		uint8_t kept = buf[i] & (uint8_t)((1u << n_bits % 8) - 1);

		cut = kept != buf[i];
		buf[i++] = kept;
	}
	for (; i < len; i++) {
		cut = cut || buf[i] != 0;
		buf[i] = 0;
	}
	return cut;
}

static int reshape_bitmaps_cut_cluster(struct work *w, uint64_t i,
				       uint64_t n_bits, struct qcow2_error *err)
{
	struct image *img = w->r->img;
	uint32_t size = img->geo.cluster_size;
	CLEANUP_FREE uint8_t *buf = malloc(size);
	enum bitmap_cluster_kind kind;
	uint64_t old;
	int rc = entry_kind(w, i, &kind, &old, err);

	if (rc < 0 || kind == BITMAP_CLUSTER_ZEROS)
		return rc;
	if (!buf)
		return error_nomem(err, "bits of a bitmap", size);
	memset(buf, 0xff, size);
	if (kind == BITMAP_CLUSTER_STORED)
		rc = store_pread(img->file, buf, size, old, 0, err);
	if (rc < 0 || !cut_bits(buf, size, n_bits))
		return rc;
	if (kind == BITMAP_CLUSTER_STORED)
		rc = add_stale(w->r, size, old, err);
	w->changes = true;
	return rc < 0 ? rc : write_fresh(w->r, buf, size, &w->table[i], err);
}

/* Bits between the end of the smaller disk and the end of its last cluster:
 * their present values say nothing about the disk. */
static int cut_end(struct work *w, struct qcow2_error *err)
{
	uint64_t granule = UINT64_C(1) << w->bitmap.granularity_bits;
	uint64_t smaller = min_u64(w->r->old_size, w->r->size);
	uint64_t n_bits = div_round_up(smaller, granule);
	uint64_t in_cluster = (uint64_t)w->r->img->geo.cluster_size * 8;
	uint64_t rest = n_bits % in_cluster;

	return rest ? reshape_bitmaps_cut_cluster(w, n_bits / in_cluster, rest,
						  err)
		    : 0;
}

/* ---- One bitmap ---------------------------------------------------------- */

static int drop_tail(struct work *w, struct qcow2_error *err)
{
	int rc = 0;

	for (uint64_t i = w->n_new; rc == 0 && i < w->n_old; i++) {
		enum bitmap_cluster_kind kind;
		uint64_t off;

		rc = entry_kind(w, i, &kind, &off, err);
		if (rc == 0 && kind == BITMAP_CLUSTER_STORED)
			rc = add_stale(w->r, w->r->img->geo.cluster_size, off,
				       err);
	}
	return rc;
}

static int reshape_bitmaps_read_table(struct work *w, struct qcow2_error *err)
{
	size_t bytes = to_size(w->n_old * BITMAP_TABLE_ENTRY_BYTES);
	CLEANUP_FREE uint8_t *raw = malloc(bytes + 1);
	int rc;

	w->table = alloc_zeroed(max_u64(w->n_old, w->n_new), sizeof(*w->table));
	if (!raw || !w->table)
		return error_nomem(err, "the table of a bitmap", bytes);
	rc = store_pread(w->r->img->file, raw, bytes, w->bitmap.table_off, 0,
			 err);
	for (uint64_t i = 0; rc == 0 && i < w->n_old; i++)
		w->table[i] = get_be64(raw + i * BITMAP_TABLE_ENTRY_BYTES);
	return rc;
}

static int reshape_bitmaps_write_table(struct work *w, struct qcow2_error *err)
{
	const struct geometry *g = &w->r->img->geo;
	uint64_t bytes = w->n_new * BITMAP_TABLE_ENTRY_BYTES;
	CLEANUP_FREE uint8_t *raw =
		alloc_zeroed(geometry_clusters(g, bytes), g->cluster_size);
	int rc;

	if (!raw)
		return error_nomem(err, "the table of a bitmap", bytes);
	for (uint64_t i = 0; i < w->n_new; i++)
		put_be64(raw + i * BITMAP_TABLE_ENTRY_BYTES, w->table[i]);
	rc = add_stale(w->r, w->n_old * BITMAP_TABLE_ENTRY_BYTES,
		       w->bitmap.table_off, err);
	if (rc == 0)
		rc = write_fresh(w->r, raw, bytes, &w->bitmap.table_off, err);
	w->bitmap.table_size = (uint32_t)w->n_new;
	return rc;
}

/* The entry of the new directory goes to @out. */
static int resize_one(struct bitmaps_resize *r, struct reader *in,
		      struct byte_writer *out, struct qcow2_error *err)
{
	struct work w = { .r = r };
	struct fault fault;
	int rc;

	if (bitmap_decode(&w.bitmap, in, &fault))
		return fault_error(err, -EIO, &fault,
				   r->img->bitmaps.directory_off);
	w.n_old = w.bitmap.table_size;
	w.n_new = bitmap_table_entries(&r->img->geo, r->size,
				       w.bitmap.granularity_bits);
	w.changes = w.n_new != w.n_old;
	rc = reshape_bitmaps_read_table(&w, err);
	if (rc == 0)
		rc = cut_end(&w, err);
	if (rc == 0)
		rc = drop_tail(&w, err);
	if (rc == 0 && w.changes)
		rc = reshape_bitmaps_write_table(&w, err);
	bitmap_encode(out, &w.bitmap);
	r->changes = r->changes || w.changes;
	free(w.table);
	return rc;
}

/* ---- All of them --------------------------------------------------------- */

/* The old directory is known to the guard as what it is; it must be nothing
 * else. */
static int reshape_bitmaps_check_directory(struct bitmaps_resize *r,
					   struct qcow2_error *err)
{
	const struct bitmaps *all = &r->img->bitmaps;
	struct guard *guard = &r->img->writer->guard;
	int rc;

	guard_remove(guard, QCOW2_OVERLAP_BITMAP_DIRECTORY,
		     all->directory_bytes, all->directory_off);
	rc = guard_hits(guard, all->directory_bytes, all->directory_off)
		     ? error_defect(err, -EIO, DEFECT_BITMAP_DIRECTORY,
				    all->directory_off,
				    "the bitmap directory lies on other "
				    "metadata of the image")
		     : 0;
	if (guard_add(guard, QCOW2_OVERLAP_BITMAP_DIRECTORY,
		      all->directory_bytes, all->directory_off, NULL) < 0)
		return error_nomem(err, "the overlap guard", 0);
	return rc;
}

static int write_directory(struct bitmaps_resize *r, const uint8_t *buf,
			   struct qcow2_error *err)
{
	const struct bitmaps *all = &r->img->bitmaps;
	int rc = reshape_bitmaps_check_directory(r, err);

	r->place = (struct bitmaps_ext){
		.n_bitmaps = all->n,
		.directory_size = all->directory_bytes,
	};
	if (rc == 0)
		rc = write_fresh(r, buf, all->directory_bytes,
				 &r->place.directory_off, err);
	if (rc == 0)
		rc = guard_add(
			&r->img->writer->guard, QCOW2_OVERLAP_BITMAP_DIRECTORY,
			all->directory_bytes, r->place.directory_off, err);
	return rc;
}

static int resize_all(struct bitmaps_resize *r, struct qcow2_error *err)
{
	const struct bitmaps *all = &r->img->bitmaps;
	const struct geometry *g = &r->img->geo;
	uint64_t bytes = all->directory_bytes;
	CLEANUP_FREE uint8_t *buf =
		alloc_zeroed(geometry_clusters(g, bytes), g->cluster_size);
	CLEANUP_FREE uint8_t *old = alloc_bytes(bytes);
	struct reader in;
	struct byte_writer out;
	int rc;

	/* A table and a cluster of each, and the directory. */
	r->fresh = calloc(2 * (size_t)all->n + 1, sizeof(*r->fresh));
	if (!buf || !old || !r->fresh)
		return error_nomem(err, "the bitmap directory", bytes);
	rc = store_pread(r->img->file, old, to_size(bytes), all->directory_off,
			 0, err);
	in = reader_init(old, to_size(bytes));
	out = byte_writer_init(buf, to_size(bytes));
	for (uint32_t i = 0; rc == 0 && i < all->n; i++)
		rc = resize_one(r, &in, &out, err);
	if (rc < 0 || !r->changes)
		return rc;
	return write_directory(r, buf, err);
}

int bitmaps_resize_prepare(struct bitmaps_resize *r, struct image *img,
			   uint64_t size, struct qcow2_error *err)
{
	*r = (struct bitmaps_resize){ .img = img,
				      .old_size = img->header.size,
				      .size = size };
	if (!are_valid(img) || !img->bitmaps.n)
		return 0;
	return resize_all(r, err);
}

static void forget_directory(struct bitmaps_resize *r, uint64_t host_off)
{
	if (host_off)
		guard_remove(&r->img->writer->guard,
			     QCOW2_OVERLAP_BITMAP_DIRECTORY,
			     r->place.directory_size, host_off);
}

void bitmaps_resize_done(struct bitmaps_resize *r)
{
	struct bitmaps *all = &r->img->bitmaps;
	struct claim old = {
		.host_off = all->directory_off,
		.n_clusters =
			geometry_clusters(&r->img->geo, all->directory_bytes),
	};

	VALIDATE(bitmaps_resize, r);
	if (!r->changes)
		return;
	for (size_t i = 0; i < r->stale.n; i++) {
		struct claim c = { .host_off = r->stale.list[i].host_off,
				   .n_clusters = r->stale.list[i].n_clusters };

		refcounts_unclaim(&r->img->writer->refs, &c);
	}
	refcounts_unclaim(&r->img->writer->refs, &old);
	forget_directory(r, all->directory_off);
	all->directory_off = r->place.directory_off;
	r->n_fresh = 0;
	r->place.directory_off = 0;
}

void bitmaps_resize_release(struct bitmaps_resize *r)
{
	for (size_t i = 0; i < r->n_fresh; i++)
		header_sector_unclaim(r->img, &r->fresh[i]);
	if (r->n_fresh)
		forget_directory(r, r->place.directory_off);
	free(r->fresh);
	freed_list_release(&r->stale);
}
