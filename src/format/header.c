#include "format/header.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cursor.h"
#include "base/range.h"
#include "format/geometry.h"

static uint64_t format_header_cluster_size(const struct header *h)
{
	return UINT64_C(1) << h->cluster_bits;
}

/* ---- Peek ---------------------------------------------------------------- */

static bool peek_is_dirty(const uint8_t *raw)
{
	uint64_t bits = get_be64(raw + HEADER_OFF_INCOMPAT);

	return get_be32(raw + HEADER_OFF_VERSION) >= 3 &&
	       (bits & (INCOMPAT_DIRTY | INCOMPAT_CORRUPT)) == INCOMPAT_DIRTY;
}

struct header_peek header_peek(const uint8_t raw[HEADER_PEEK_BYTES])
{
	uint32_t bits = get_be32(raw + HEADER_OFF_CLUSTER_BITS);
	struct header_peek p = {
		.is_qcow2 = get_be32(raw + HEADER_OFF_MAGIC) == HEADER_MAGIC,
	};

	p.is_dirty = p.is_qcow2 && peek_is_dirty(raw);
	if (bits >= CLUSTER_BITS_MIN && bits <= CLUSTER_BITS_MAX)
		p.cluster_size = UINT32_C(1) << bits;
	return p;
}

/* ---- Decode -------------------------------------------------------------- */

static void read_v2(struct header *h, struct reader *r)
{
	h->backing_off = read_be64(r);
	h->backing_len = read_be32(r);
	h->cluster_bits = read_be32(r);
	h->size = read_be64(r);
	h->crypt_method = read_be32(r);
	h->l1_size = read_be32(r);
	h->l1_off = read_be64(r);
	h->refcount_table_off = read_be64(r);
	h->refcount_table_clusters = read_be32(r);
	h->n_snapshots = read_be32(r);
	h->snapshots_off = read_be64(r);
}

static void read_v3(struct header *h, struct reader *r)
{
	h->incompatible_features = read_be64(r);
	h->compatible_features = read_be64(r);
	h->autoclear_features = read_be64(r);
	h->refcount_order = read_be32(r);
	h->header_length = read_be32(r);
}

/* The compression type, its padding, and whatever later versions added. */
static void read_additional(struct header *h, struct reader *r)
{
	if (h->header_length < HEADER_LENGTH_V3)
		return;
	h->compression_type = read_u8(r);
	h->tail_len = h->header_length - HEADER_OFF_COMPRESSION - 1;
	h->tail = read_bytes(r, h->tail_len);
}

static enum defect check_v3(const struct header *h, struct fault *fault)
{
	if (h->header_length < HEADER_LENGTH_V3_MIN ||
	    h->header_length % 8 != 0)
		return fault_set(fault, DEFECT_HEADER_LENGTH, "header_length",
				 HEADER_OFF_HEADER_LENGTH, h->header_length,
				 HEADER_LENGTH_V3_MIN);
	if (h->header_length > format_header_cluster_size(h))
		return fault_set(fault, DEFECT_HEADER_LENGTH, "header_length",
				 HEADER_OFF_HEADER_LENGTH, h->header_length,
				 format_header_cluster_size(h));
	if (h->refcount_order > REFCOUNT_ORDER_MAX)
		return fault_set(fault, DEFECT_HEADER_REFCOUNT_ORDER,
				 "refcount_order", HEADER_OFF_REFCOUNT_ORDER,
				 h->refcount_order, REFCOUNT_ORDER_MAX);
	return DEFECT_NONE;
}

static enum defect decode_v3(struct header *h, struct reader *r, size_t len,
			     struct fault *fault)
{
	enum defect bad;

	read_v3(h, r);
	if (r->failed)
		return fault_set(fault, DEFECT_HEADER_TOO_SHORT, "length", 0,
				 len, HEADER_LENGTH_V3_MIN);
	bad = check_v3(h, fault);
	if (bad)
		return bad;
	read_additional(h, r);
	if (r->failed)
		return fault_set(fault, DEFECT_HEADER_TOO_SHORT, "length", 0,
				 len, h->header_length);
	return DEFECT_NONE;
}

enum defect header_decode(struct header *h, const void *buf, size_t len,
			  struct fault *fault)
{
	struct reader r = reader_init(buf, len);
	uint32_t magic = read_be32(&r);

	memset(h, 0, sizeof(*h));
	h->version = read_be32(&r);
	if (r.failed)
		return fault_set(fault, DEFECT_HEADER_TOO_SHORT, "length", 0,
				 len, HEADER_LENGTH_V2);
	if (magic != HEADER_MAGIC)
		return fault_set(fault, DEFECT_HEADER_MAGIC, "magic",
				 HEADER_OFF_MAGIC, magic, HEADER_MAGIC);
	if (h->version != 2 && h->version != 3)
		return fault_set(fault, DEFECT_HEADER_VERSION, "version",
				 HEADER_OFF_VERSION, h->version, 3);
	read_v2(h, &r);
	if (r.failed)
		return fault_set(fault, DEFECT_HEADER_TOO_SHORT, "length", 0,
				 len, HEADER_LENGTH_V2);
	if (h->cluster_bits < CLUSTER_BITS_MIN)
		return fault_set(fault, DEFECT_HEADER_CLUSTER_BITS,
				 "cluster_bits", HEADER_OFF_CLUSTER_BITS,
				 h->cluster_bits, CLUSTER_BITS_MIN);
	if (h->cluster_bits > CLUSTER_BITS_MAX)
		return fault_set(fault, DEFECT_HEADER_CLUSTER_BITS,
				 "cluster_bits", HEADER_OFF_CLUSTER_BITS,
				 h->cluster_bits, CLUSTER_BITS_MAX);
	h->refcount_order = REFCOUNT_ORDER_V2;
	h->header_length = HEADER_LENGTH_V2;
	return h->version == 3 ? decode_v3(h, &r, len, fault) : DEFECT_NONE;
}

/* ---- Validate ------------------------------------------------------------ */

/* A table without entries is nowhere, but its offset must be one. */
static bool place_is_valid(const struct geometry *g, uint64_t off,
			   uint64_t bytes, uint64_t file_size)
{
	if (bytes == 0)
		return off <= INT64_MAX && is_aligned(off, g->cluster_size);
	return geometry_table_fits(g, off, bytes, file_size);
}

static enum defect validate_l1(const struct header *h, const struct geometry *g,
			       uint64_t file_size, struct fault *fault)
{
	uint64_t bytes = (uint64_t)h->l1_size * L1_ENTRY_BYTES;

	if (bytes > L1_TABLE_BYTES_MAX)
		return fault_set(fault, DEFECT_HEADER_L1_SIZE, "l1_size",
				 HEADER_OFF_L1_SIZE, h->l1_size,
				 L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES);
	if (h->l1_size < geometry_l1_entries(g, h->size))
		return fault_set(fault, DEFECT_HEADER_L1_SIZE, "l1_size",
				 HEADER_OFF_L1_SIZE, h->l1_size,
				 geometry_l1_entries(g, h->size));
	if (!place_is_valid(g, h->l1_off, bytes, file_size))
		return fault_set(fault, DEFECT_HEADER_L1_OFFSET,
				 "l1_table_offset", HEADER_OFF_L1_OFF,
				 h->l1_off, file_size);
	return DEFECT_NONE;
}

static enum defect validate_refcount_table(const struct header *h,
					   const struct geometry *g,
					   uint64_t file_size,
					   struct fault *fault)
{
	uint64_t bytes = (uint64_t)h->refcount_table_clusters
			 << g->cluster_bits;

	if (bytes > REFCOUNT_TABLE_BYTES_MAX)
		return fault_set(fault, DEFECT_HEADER_REFCOUNT_TABLE_SIZE,
				 "refcount_table_clusters",
				 HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
				 h->refcount_table_clusters,
				 REFCOUNT_TABLE_BYTES_MAX >> g->cluster_bits);
	if (!place_is_valid(g, h->refcount_table_off, bytes, file_size))
		return fault_set(fault, DEFECT_HEADER_REFCOUNT_TABLE_OFFSET,
				 "refcount_table_offset",
				 HEADER_OFF_REFCOUNT_TABLE_OFF,
				 h->refcount_table_off, file_size);
	return DEFECT_NONE;
}

static enum defect validate_overlap(const struct header *h, struct fault *fault)
{
	struct range l1 = { h->l1_off, (uint64_t)h->l1_size * L1_ENTRY_BYTES };
	struct range rt = { h->refcount_table_off,
			    (uint64_t)h->refcount_table_clusters
				    << h->cluster_bits };

	if (range_overlaps(l1, rt))
		return fault_set(fault, DEFECT_HEADER_L1_OFFSET,
				 "l1_table_offset", HEADER_OFF_L1_OFF,
				 h->l1_off, h->refcount_table_off);
	return DEFECT_NONE;
}

static enum defect validate_snapshots(const struct header *h,
				      const struct geometry *g,
				      uint64_t file_size, struct fault *fault)
{
	uint64_t bytes = (uint64_t)h->n_snapshots * SNAPSHOT_HEADER_BYTES;

	if (h->n_snapshots > SNAPSHOTS_MAX)
		return fault_set(fault, DEFECT_HEADER_SNAPSHOT_COUNT,
				 "nb_snapshots", HEADER_OFF_SNAPSHOT_COUNT,
				 h->n_snapshots, SNAPSHOTS_MAX);
	if (!place_is_valid(g, h->snapshots_off, bytes, file_size))
		return fault_set(fault, DEFECT_HEADER_SNAPSHOT_OFFSET,
				 "snapshots_offset", HEADER_OFF_SNAPSHOTS_OFF,
				 h->snapshots_off, file_size);
	if (h->n_snapshots && header_has_data_file(h))
		return fault_set(fault, DEFECT_HEADER_DATA_FILE_SNAPSHOTS,
				 "nb_snapshots", HEADER_OFF_SNAPSHOT_COUNT,
				 h->n_snapshots, 0);
	return DEFECT_NONE;
}

static enum defect validate_backing(const struct header *h, struct fault *fault)
{
	if (h->backing_off > format_header_cluster_size(h))
		return fault_set(fault, DEFECT_HEADER_BACKING_NAME,
				 "backing_file_offset", HEADER_OFF_BACKING_OFF,
				 h->backing_off, format_header_cluster_size(h));
	if (!header_has_backing(h))
		return DEFECT_NONE;
	if (h->backing_len > BACKING_NAME_BYTES_MAX)
		return fault_set(fault, DEFECT_HEADER_BACKING_NAME,
				 "backing_file_size", HEADER_OFF_BACKING_LEN,
				 h->backing_len, BACKING_NAME_BYTES_MAX);
	if (h->backing_off < h->header_length)
		return fault_set(fault, DEFECT_HEADER_BACKING_NAME,
				 "backing_file_offset", HEADER_OFF_BACKING_OFF,
				 h->backing_off, h->header_length);
	if (h->backing_len > format_header_cluster_size(h) - h->backing_off)
		return fault_set(fault, DEFECT_HEADER_BACKING_NAME,
				 "backing_file_offset", HEADER_OFF_BACKING_OFF,
				 h->backing_off, format_header_cluster_size(h));
	if (header_has_data_file(h) &&
	    (h->autoclear_features & AUTOCLEAR_DATA_FILE_RAW))
		return fault_set(fault, DEFECT_HEADER_DATA_FILE_BACKING,
				 "backing_file_offset", HEADER_OFF_BACKING_OFF,
				 h->backing_off, 0);
	return DEFECT_NONE;
}

static enum defect validate_features(const struct header *h,
				     struct fault *fault)
{
	bool bit = (h->incompatible_features & INCOMPAT_COMPRESSION) != 0;

	if (h->crypt_method > CRYPT_LUKS)
		return fault_set(fault, DEFECT_HEADER_CRYPT_METHOD,
				 "crypt_method", HEADER_OFF_CRYPT_METHOD,
				 h->crypt_method, CRYPT_LUKS);
	if (h->compression_type > COMPRESSION_ZSTD ||
	    bit != (h->compression_type != COMPRESSION_ZLIB))
		return fault_set(fault, DEFECT_HEADER_COMPRESSION_TYPE,
				 "compression_type", HEADER_OFF_COMPRESSION,
				 h->compression_type, COMPRESSION_ZSTD);
	if ((h->incompatible_features & INCOMPAT_EXTENDED_L2) &&
	    h->cluster_bits < CLUSTER_BITS_MIN_EXTENDED_L2)
		return fault_set(fault, DEFECT_HEADER_EXTENDED_L2_CLUSTER,
				 "cluster_bits", HEADER_OFF_CLUSTER_BITS,
				 h->cluster_bits, CLUSTER_BITS_MIN_EXTENDED_L2);
	return DEFECT_NONE;
}

enum defect header_validate(const struct header *h, uint64_t file_size,
			    struct fault *fault)
{
	struct geometry g;
	enum defect bad;

	geometry_init(&g, h);
	if (h->size > VIRTUAL_SIZE_MAX)
		return fault_set(fault, DEFECT_HEADER_SIZE, "size",
				 HEADER_OFF_SIZE, h->size, VIRTUAL_SIZE_MAX);
	bad = validate_features(h, fault);
	if (!bad)
		bad = validate_l1(h, &g, file_size, fault);
	if (!bad)
		bad = validate_refcount_table(h, &g, file_size, fault);
	if (!bad)
		bad = validate_overlap(h, fault);
	if (!bad)
		bad = validate_snapshots(h, &g, file_size, fault);
	if (!bad)
		bad = validate_backing(h, fault);
	return bad;
}

/* ---- Encode -------------------------------------------------------------- */

static void write_v2(const struct header *h, struct byte_writer *w)
{
	write_be32(w, HEADER_MAGIC);
	write_be32(w, h->version);
	write_be64(w, h->backing_off);
	write_be32(w, h->backing_len);
	write_be32(w, h->cluster_bits);
	write_be64(w, h->size);
	write_be32(w, h->crypt_method);
	write_be32(w, h->l1_size);
	write_be64(w, h->l1_off);
	write_be64(w, h->refcount_table_off);
	write_be32(w, h->refcount_table_clusters);
	write_be32(w, h->n_snapshots);
	write_be64(w, h->snapshots_off);
}

static void write_v3(const struct header *h, struct byte_writer *w)
{
	write_be64(w, h->incompatible_features);
	write_be64(w, h->compatible_features);
	write_be64(w, h->autoclear_features);
	write_be32(w, h->refcount_order);
	write_be32(w, h->header_length);
	if (h->header_length < HEADER_LENGTH_V3)
		return;
	write_u8(w, h->compression_type);
	if (h->tail)
		write_bytes(w, h->tail, h->tail_len);
	else
		write_zeros(w, HEADER_LENGTH_V3 - HEADER_OFF_COMPRESSION - 1);
}

size_t header_encode(const struct header *h, void *buf, size_t len)
{
	struct byte_writer w = byte_writer_init(buf, len);

	write_v2(h, &w);
	if (h->version >= 3)
		write_v3(h, &w);
	if (w.failed || byte_writer_len(&w) != h->header_length)
		return 0;
	return byte_writer_len(&w);
}
