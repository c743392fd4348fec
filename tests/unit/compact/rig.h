/*
 * Images to be compacted: a disk in memory with data of all kinds.
 */
#ifndef UNIT_COMPACT_RIG_H
#define UNIT_COMPACT_RIG_H

#include <errno.h>

#include "unit/snapshot/rig.h"

#include "base/bytes.h"
#include "format/header.h"
#include "format/l2.h"

/* Clusters [first, first + n) hold @value in their first half and @value + 1 in
 * the second, but for @noise random bytes, which do not compress. */
static inline void compact_pattern(struct rig *r, uint64_t first, uint64_t n,
				   uint8_t value, uint64_t noise)
{
	uint64_t size = r->create.cluster_size;
	struct test_rng rng = test_rng_init(value + first * 1000);

	for (uint64_t i = first; i < first + n; i++) {
		uint8_t *at = r->disk + i * size;

		memset(at, value, size / 2);
		memset(at + size / 2, value + 1, size / 2);
		test_rng_fill(&rng, at + size / 4, noise);
	}
}

static inline void compact_write(struct rig *r, uint64_t first, uint64_t n,
				 uint8_t value)
{
	uint64_t size = r->create.cluster_size;
	struct qcow2_error err;

	compact_pattern(r, first, n, value, 8);
	if (qcow2_pwrite(r->img, r->disk + first * size, n * size, first * size,
			 0, &err) < 0)
		rig_fail("write", &err);
}

static inline void compact_write_compressed(struct rig *r, uint64_t first,
					    uint64_t n, uint8_t value,
					    uint64_t noise)
{
	uint64_t size = r->create.cluster_size;
	struct qcow2_error err;

	compact_pattern(r, first, n, value, noise);
	if (qcow2_write_compressed(r->img, r->disk + first * size, n * size,
				   first * size, 0, &err) < 0)
		rig_fail("compressed write", &err);
}

static inline void compact_discard(struct rig *r, uint64_t first, uint64_t n)
{
	uint64_t size = r->create.cluster_size;
	struct qcow2_error err;

	memset(r->disk + first * size, 0, n * size);
	if (qcow2_discard(r->img, n * size, first * size, 0, &err) < 0)
		rig_fail("discard", &err);
}

static inline uint64_t compact_size(struct qcow2_store *store)
{
	uint64_t size;

	assert_int_equal(store_size(store, &size, NULL), 0);
	return size;
}

static inline uint8_t *compact_bytes(struct qcow2_store *store, uint64_t *size)
{
	uint8_t *bytes;

	*size = compact_size(store);
	bytes = malloc(*size);
	assert_non_null(bytes);
	assert_int_equal(store_pread(store, bytes, *size, 0, 0, NULL), 0);
	return bytes;
}

/* Of the closed image, which stays closed. */
static inline struct qcow2_compact_result compact_run(struct rig *r,
						      uint32_t flags)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_error err;

	opts.flags = flags;
	rig_open(r);
	/* The caches are filled now, and their contents must not be believed
	 * afterwards. */
	rig_expect(r);
	if (qcow2_compact(r->img, &opts, &result, &err) < 0)
		rig_fail("compact", &err);
	rig_expect(r);
	rig_close(r);
	return result;
}

/* T2: an image that is open for reading is enough to find out the same. */
static inline void compact_look(struct rig *r,
				const struct qcow2_compact_result *expected)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;

	assert_int_equal(qcow2_open_store(r->store, &open, &img, NULL), 0);
	assert_int_equal(qcow2_compact(img, &opts, &result, NULL), -EBADF);
	opts.flags = QCOW2_COMPACT_DRY_RUN;
	assert_int_equal(qcow2_compact(img, &opts, &result, NULL), 0);
	assert_int_equal(qcow2_close(img, NULL), 0);
	assert_memory_equal(&result, expected, sizeof(result));
}

/* It writes nothing. */
static inline struct qcow2_compact_result compact_predict(struct rig *r)
{
	struct qcow2_compact_result result;
	uint64_t before, after;
	uint8_t *old = compact_bytes(r->store, &before);
	uint8_t *new;

	result = compact_run(r, QCOW2_COMPACT_DRY_RUN);
	new = compact_bytes(r->store, &after);
	assert_int_equal(before, after);
	assert_memory_equal(old, new, before);
	assert_int_equal(result.clusters_moved, 0);
	compact_look(r, &result);
	free(old);
	free(new);
	return result;
}

/* The properties of every compaction, on the closed image. */
static inline struct qcow2_compact_result compact_all(struct rig *r)
{
	uint64_t before = compact_size(r->store);
	struct qcow2_compact_result first, again;

	compact_predict(r);
	first = compact_run(r, 0);
	rig_check(r);
	assert_true(compact_size(r->store) <= before);
	assert_int_equal(first.file_size_before, before);
	assert_int_equal(first.file_size_after, compact_size(r->store));
	again = compact_predict(r);
	assert_int_equal(again.clusters_movable, 0);
	assert_int_equal(again.file_size_after, first.file_size_after);
	again = compact_run(r, 0);
	assert_int_equal(again.clusters_moved, 0);
	assert_int_equal(again.file_size_after, first.file_size_after);
	rig_open(r);
	rig_expect(r);
	rig_close(r);
	return first;
}

/* ---- Looking inside ------------------------------------------------------ */

static inline uint64_t raw64(struct rig *r, uint64_t off)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(r->store, raw, 8, off, 0, NULL), 0);
	return get_be64(raw);
}

static inline void put_raw64(struct rig *r, uint64_t off, uint64_t value)
{
	uint8_t raw[8];

	put_be64(raw, value);
	assert_int_equal(store_pwrite(r->store, raw, 8, off, 0, NULL), 0);
}

static inline uint64_t l1_off(struct rig *r)
{
	return raw64(r, HEADER_OFF_L1_OFF);
}

static inline uint64_t l2_off(struct rig *r, uint64_t index)
{
	return l1_table_off(raw64(r, l1_off(r) + 8 * index));
}

/* The place of a cluster's L2 entry, in tables without extended entries. */
static inline uint64_t entry_at(struct rig *r, uint64_t cluster)
{
	uint64_t per_table = r->create.cluster_size / 8;

	return l2_off(r, cluster / per_table) + cluster % per_table * 8;
}

static inline uint64_t host_of(struct rig *r, uint64_t cluster)
{
	return raw64(r, entry_at(r, cluster)) & ENTRY_OFFSET_MASK;
}

static inline uint64_t packed_at(struct rig *r, uint64_t cluster)
{
	uint64_t desc = raw64(r, entry_at(r, cluster));
	uint32_t size = r->create.cluster_size;
	uint32_t shift = 62 - ((uint32_t)__builtin_ctz(size) - 8);

	assert_true(desc & L2_COMPRESSED);
	return desc & ((UINT64_C(1) << shift) - 1);
}

/* ---- Images -------------------------------------------------------------- */

enum { COMPACT_CLUSTERS = 256 };

static inline void compact_start(struct rig *r, uint32_t cluster_size,
				 uint32_t refcount_bits, uint32_t version)
{
	struct qcow2_create_opts o = {
		.cluster_size = cluster_size,
		.version = version,
		.refcount_bits = refcount_bits,
	};

	rig_init(r, (uint64_t)COMPACT_CLUSTERS * cluster_size, &o);
}

#endif
