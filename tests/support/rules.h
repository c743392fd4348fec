/*
 * The promises of every accepted structure, stated once more and independently
 * of the decoders: unit tests and fuzz targets check them.
 */
#ifndef SUPPORT_RULES_H
#define SUPPORT_RULES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "format/bitmap.h"
#include "format/extension.h"
#include "format/header.h"
#include "format/l2.h"
#include "format/luks.h"

static inline uint64_t rules_file_end(uint32_t cluster_bits, uint64_t size)
{
	uint64_t mask = (UINT64_C(1) << cluster_bits) - 1;

	return size > UINT64_MAX - mask ? UINT64_MAX : (size + mask) & ~mask;
}

/* [off, off + bytes) behind the header cluster, aligned, in the file. */
static inline bool rules_table(uint32_t cluster_bits, uint64_t off,
			       uint64_t bytes, uint64_t file_size)
{
	uint64_t cluster = UINT64_C(1) << cluster_bits;
	uint64_t end = rules_file_end(cluster_bits, file_size);

	return off >= cluster && off % cluster == 0 && off >> 56 == 0 &&
	       off <= end && bytes <= end - off;
}

/* The rules of header_decode() from @len bytes. */
static inline bool rules_header_decoded(const struct header *h, size_t len)
{
	if (h->version == 2)
		return h->header_length == 72 && h->refcount_order == 4 &&
		       h->cluster_bits >= 9 && h->cluster_bits <= 21 &&
		       h->incompatible_features == 0;
	return h->version == 3 && h->cluster_bits >= 9 &&
	       h->cluster_bits <= 21 && h->refcount_order <= 6 &&
	       h->header_length >= 104 && h->header_length % 8 == 0 &&
	       h->header_length <= len &&
	       h->header_length <= 1u << h->cluster_bits;
}

static inline bool rules_header_l1(const struct header *h, uint64_t file_size)
{
	bool extended = h->incompatible_features & INCOMPAT_EXTENDED_L2;
	uint32_t reach_bits = 2 * h->cluster_bits - (extended ? 4 : 3);
	uint64_t last = h->size ? (h->size - 1) >> reach_bits : 0;
	uint64_t bytes = h->l1_size * UINT64_C(8);

	if (bytes > 32 * MIB || h->size > INT64_MAX)
		return false;
	if (h->size && last >= h->l1_size)
		return false;
	return !bytes ||
	       rules_table(h->cluster_bits, h->l1_off, bytes, file_size);
}

/* The rules of header_validate(). */
static inline bool rules_header_valid(const struct header *h,
				      uint64_t file_size)
{
	uint64_t cluster = UINT64_C(1) << h->cluster_bits;
	uint64_t refcounts = h->refcount_table_clusters * cluster;
	bool zstd = h->incompatible_features & INCOMPAT_COMPRESSION;

	if (!rules_header_l1(h, file_size) || refcounts > 8 * MIB)
		return false;
	if (refcounts && !rules_table(h->cluster_bits, h->refcount_table_off,
				      refcounts, file_size))
		return false;
	if (h->n_snapshots > 65536 ||
	    (h->n_snapshots &&
	     !rules_table(h->cluster_bits, h->snapshots_off,
			  h->n_snapshots * UINT64_C(40), file_size)))
		return false;
	if (h->backing_off > cluster)
		return false;
	if (h->backing_off && h->backing_len &&
	    (h->backing_off < h->header_length || h->backing_len > 1023 ||
	     h->backing_off > cluster ||
	     h->backing_len > cluster - h->backing_off))
		return false;
	return h->crypt_method <= 2 && h->compression_type == (zstd ? 1 : 0);
}

/* The rules of extensions_decode(). */
static inline bool rules_extensions(const struct extensions *x,
				    const struct header *h, uint64_t file_size)
{
	if (x->n_total > 1024 || x->backing_format_len > 15 ||
	    x->data_file_len > 1023 || x->feature_names_len % 48 ||
	    x->has_crypto != (h->crypt_method == CRYPT_LUKS))
		return false;
	if (header_has_data_file(h) && !x->data_file_len)
		return false;
	if (x->has_crypto &&
	    (x->crypto.len < 592 || !rules_table(h->cluster_bits, x->crypto.off,
						 x->crypto.len, file_size)))
		return false;
	return !x->has_bitmaps || x->bad_bitmaps ||
	       (x->bitmaps.n_bitmaps >= 1 && x->bitmaps.n_bitmaps <= 65535 &&
		x->bitmaps.directory_size >=
			x->bitmaps.n_bitmaps * UINT64_C(24) &&
		rules_table(h->cluster_bits, x->bitmaps.directory_off,
			    x->bitmaps.directory_size, file_size));
}

static inline bool rules_data(const struct geometry *g, struct l2_entry e,
			      uint64_t guest_off, uint64_t data_size)
{
	uint64_t off = l2_host_off(e);
	uint64_t same = guest_off / g->cluster_size * g->cluster_size;

	if (off % g->cluster_size || off >= data_size)
		return false;
	return g->has_data_file ? off == same : off >= g->cluster_size;
}

/* The rules of l2_entry_unreadable() for the entries that it lets through. */
static inline bool rules_readable(const struct geometry *g, struct l2_entry e,
				  uint64_t guest_off, uint64_t file_size,
				  uint64_t data_size)
{
	struct compressed c = compressed_decode(g, e.desc);

	for (unsigned i = 0; i < g->subclusters; i++) {
		enum subcluster_kind kind = l2_subcluster_kind(g, e, i);

		if (kind == SUBCLUSTER_INVALID)
			return false;
		if (kind == SUBCLUSTER_NORMAL &&
		    !rules_data(g, e, guest_off, data_size))
			return false;
		if (kind == SUBCLUSTER_COMPRESSED &&
		    (g->has_data_file || c.host_off < g->cluster_size ||
		     c.host_off >= file_size || c.len > 2 * g->cluster_size ||
		     c.len == 0))
			return false;
	}
	return true;
}

/* The rules of bitmap_validate(). */
static inline bool rules_bitmap(const struct geometry *g,
				const struct bitmap *b, uint64_t file_size)
{
	return b->type == 1 && b->flags <= 7 && b->granularity_bits >= 9 &&
	       b->granularity_bits <= 31 && b->name_len >= 1 &&
	       b->name_len <= 1023 && b->table_size >= 1 &&
	       (uint64_t)b->table_size * g->cluster_size <= 512 * MIB &&
	       rules_table(g->cluster_bits, b->table_off,
			   b->table_size * UINT64_C(8), file_size);
}

/* The rules of luks_decode(). */
static inline bool rules_luks(const struct luks_header *l, uint64_t area_len)
{
	if (l->key_bytes < 1 || l->key_bytes > 64 || !l->digest_iterations ||
	    strlen(l->cipher_name) > 31 || strlen(l->cipher_mode) > 31 ||
	    strlen(l->hash) > 31 || strlen(l->uuid) > 40)
		return false;
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const struct luks_slot *s = &l->slots[i];
		uint64_t off = s->key_off_sectors * UINT64_C(512);
		uint64_t end = off + UINT64_C(4000) * l->key_bytes;

		if (off < 592 || end > area_len || s->stripes != 4000)
			return false;
		if (s->state == LUKS_SLOT_ACTIVE
			    ? !s->iterations
			    : s->state != LUKS_SLOT_INACTIVE)
			return false;
	}
	return true;
}

#endif
