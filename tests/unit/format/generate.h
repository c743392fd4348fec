/*
 * Random valid structures, for the tests of the codec.
 */
#ifndef UNIT_FORMAT_GENERATE_H
#define UNIT_FORMAT_GENERATE_H

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/limits.h"
#include "support/test.h"

/* A number of any magnitude. */
static inline uint64_t gen_number(struct test_rng *rng)
{
	return test_rng_next(rng) >> test_rng_below(rng, 64);
}

static inline uint32_t gen_number32(struct test_rng *rng)
{
	return (uint32_t)(test_rng_next(rng) >> (32 + test_rng_below(rng, 32)));
}

/* A plain image of 4 MiB with 4 KiB clusters. */
static inline struct header small_header(uint32_t version)
{
	struct header h = {
		.version = version,
		.cluster_bits = 12,
		.size = 4 << 20,
		.l1_size = 2,
		.l1_off = 0x3000,
		.refcount_table_off = 0x1000,
		.refcount_table_clusters = 1,
		.refcount_order = 4,
		.header_length = version == 2 ? HEADER_LENGTH_V2
					      : HEADER_LENGTH_V3,
	};

	return h;
}

/* The geometry of an image with these features. */
static inline struct geometry
gen_geometry(uint32_t version, uint32_t cluster_bits, uint32_t refcount_order,
	     uint64_t incompatible_features, uint64_t autoclear_features)
{
	struct header h = {
		.version = version,
		.cluster_bits = cluster_bits,
		.refcount_order = refcount_order,
		.incompatible_features = incompatible_features,
		.autoclear_features = autoclear_features,
	};
	struct geometry g;

	geometry_init(&g, &h);
	return g;
}

static inline uint64_t gen_place(struct test_rng *rng, uint64_t *next,
				 uint32_t cluster_bits, uint64_t bytes)
{
	uint64_t size = UINT64_C(1) << cluster_bits;
	uint64_t off = *next + size * test_rng_below(rng, 3);

	*next = align_up(off + bytes, size);
	return off;
}

static inline uint64_t gen_incompatible(struct test_rng *rng,
					uint32_t cluster_bits)
{
	uint64_t bits = test_rng_next(rng) & INCOMPAT_KNOWN;

	if (cluster_bits < CLUSTER_BITS_MIN_EXTENDED_L2)
		bits &= ~INCOMPAT_EXTENDED_L2;
	return bits;
}

static inline void gen_v3(struct test_rng *rng, struct header *h,
			  const uint8_t *tail)
{
	h->incompatible_features = gen_incompatible(rng, h->cluster_bits);
	h->compatible_features = gen_number(rng);
	h->autoclear_features = gen_number(rng);
	h->header_length = HEADER_LENGTH_V3_MIN;
	if (h->incompatible_features & INCOMPAT_COMPRESSION)
		h->compression_type = COMPRESSION_ZSTD;
	if (h->compression_type || test_rng_below(rng, 4)) {
		h->header_length =
			HEADER_LENGTH_V3 + 8 * (uint32_t)test_rng_below(rng, 8);
		h->tail = tail;
		h->tail_len = h->header_length - HEADER_OFF_COMPRESSION - 1;
	}
}

/*
 * A header that every check accepts, in a file of *file_size bytes.  @tail has
 * 64 random bytes that may become its tail.
 */
static inline struct header gen_header(struct test_rng *rng, uint32_t version,
				       uint32_t cluster_bits, uint32_t order,
				       const uint8_t *tail, uint64_t *file_size)
{
	uint64_t cluster = UINT64_C(1) << cluster_bits;
	uint64_t next = cluster;
	struct header h = {
		.version = version,
		.cluster_bits = cluster_bits,
		.refcount_order = REFCOUNT_ORDER_V2,
		.header_length = HEADER_LENGTH_V2,
		.crypt_method = (uint32_t)test_rng_below(rng, 3),
	};
	struct geometry g;

	if (version == 3) {
		h.refcount_order = order;
		gen_v3(rng, &h, tail);
	}
	geometry_init(&g, &h);
	h.size = gen_number(rng) % (geometry_l2_reach(&g) * 4096);
	h.l1_size = (uint32_t)(geometry_l1_entries(&g, h.size) +
			       test_rng_below(rng, 3));
	h.l1_off = gen_place(rng, &next, cluster_bits, h.l1_size * UINT64_C(8));
	h.refcount_table_clusters = (uint32_t)test_rng_below(
		rng, 1 + min_u64(4, 8 * MIB / cluster));
	h.refcount_table_off =
		gen_place(rng, &next, cluster_bits,
			  (uint64_t)h.refcount_table_clusters << cluster_bits);
	if (!header_has_data_file(&h) && test_rng_below(rng, 2))
		h.n_snapshots = (uint32_t)test_rng_below(rng, 9);
	h.snapshots_off = gen_place(rng, &next, cluster_bits,
				    h.n_snapshots * UINT64_C(40));
	if (!g.data_file_raw && test_rng_below(rng, 2)) {
		h.backing_off = h.header_length +
				test_rng_below(rng, cluster - h.header_length);
		h.backing_len =
			1 +
			(uint32_t)test_rng_below(
				rng, min_u64(cluster - h.backing_off, 1023));
	}
	*file_size = next - test_rng_below(rng, cluster);
	*file_size = max_u64(*file_size, cluster);
	return h;
}

/* Flips one to four bits of a buffer. */
static inline void gen_flip(struct test_rng *rng, uint8_t *p, size_t len)
{
	for (uint64_t n = 1 + test_rng_below(rng, 4); n && len; n--)
		p[test_rng_below(rng, len)] ^=
			(uint8_t)(1u << test_rng_below(rng, 8));
}

#endif
