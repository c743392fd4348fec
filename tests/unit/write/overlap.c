/*
 * A damaged L2 entry that points at metadata, under each choice of sections.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "format/header.h"
#include "format/l2.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/test.h"

enum { CLUSTER = 65536 };

static uint64_t get(struct qcow2_store *s, uint64_t off)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(s, raw, 8, off, 0, NULL), 0);
	return get_be64(raw);
}

static void put(struct qcow2_store *s, uint64_t v, uint64_t off)
{
	uint8_t raw[8];

	put_be64(raw, v);
	assert_int_equal(store_pwrite(s, raw, 8, off, 0, NULL), 0);
}

static struct qcow2_image *open_rw(struct qcow2_store *s, uint32_t sections)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;

	/* The proof would find what the guard is there for. */
	opts.flags = QCOW2_OPEN_RDWR | QCOW2_OPEN_TRUST_REFCOUNTS;
	opts.overlap_check = sections;
	assert_int_equal(qcow2_open_store(s, &opts, &img, NULL), 0);
	return img;
}

/* An image whose disk and snapshot have an L2 table each. */
static struct qcow2_store *make(void)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	uint8_t sector[512] = { 1 };
	struct qcow2_image *img;
	struct qcow2_store *s;

	opts.virtual_size = 1 << 20;
	assert_int_equal(qcow2_store_new_memory(&s, NULL), 0);
	assert_int_equal(qcow2_create_store(s, NULL, &opts, NULL), 0);
	img = open_rw(s, 0);
	assert_int_equal(qcow2_pwrite(img, sector, 512, 0, 0, NULL), 0);
	assert_int_equal(qcow2_snapshot_create(img, "one", NULL, NULL), 0);
	assert_int_equal(qcow2_pwrite(img, sector, 512, CLUSTER, 0, NULL), 0);
	assert_int_equal(qcow2_close(img, NULL), 0);
	return s;
}

static uint64_t active_l2(struct qcow2_store *s)
{
	return get(s, get(s, HEADER_OFF_L1_OFF)) & ENTRY_OFFSET_MASK;
}

static uint64_t snapshot_l2(struct qcow2_store *s)
{
	uint64_t l1 = get(s, get(s, HEADER_OFF_SNAPSHOTS_OFF));

	return get(s, l1) & ENTRY_OFFSET_MASK;
}

/* Writes through an entry that claims @victim as its own cluster. */
static int write_over(struct qcow2_store *s, uint64_t victim, uint32_t sections)
{
	uint8_t sector[512] = { 2 };
	struct qcow2_image *img;
	int rc;

	put(s, victim | ENTRY_COPIED, active_l2(s) + 8 * 4);
	img = open_rw(s, sections);
	rc = qcow2_pwrite(img, sector, 512, 4 * CLUSTER, 0, NULL);
	qcow2_close(img, NULL);
	return rc;
}

TEST(each_template_guards_its_sections)
{
	static const struct {
		uint32_t sections;
		bool guards_l1, guards_l2, guards_inactive_l2;
	} rows[] = {
		{ 0, true, true, false },
		{ QCOW2_OVERLAP_NONE, false, false, false },
		{ QCOW2_OVERLAP_CONSTANT, true, false, false },
		{ QCOW2_OVERLAP_CACHED, true, true, false },
		{ QCOW2_OVERLAP_ALL, true, true, true },
		{ QCOW2_OVERLAP_INACTIVE_L2, false, false, true },
		{ QCOW2_OVERLAP_ACTIVE_L1, true, false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int victim = 0; victim < 3; victim++) {
			struct qcow2_store *s = make();
			uint64_t at[] = { get(s, HEADER_OFF_L1_OFF),
					  active_l2(s), snapshot_l2(s) };
			bool want[] = { rows[i].guards_l1, rows[i].guards_l2,
					rows[i].guards_inactive_l2 };

			assert_int_equal(
				write_over(s, at[victim], rows[i].sections),
				want[victim] ? -EIO : 0);
			if (want[victim])
				assert_int_equal(get(s, HEADER_OFF_INCOMPAT),
						 INCOMPAT_CORRUPT);
			store_unref(s);
		}
	}
}

/* S10: tables that cannot be found cannot be guarded, so nothing is written. */
TEST(a_snapshot_that_cannot_be_followed_is_not_left_unguarded)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *s = make();
	uint64_t at = get(s, HEADER_OFF_SNAPSHOTS_OFF);
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	put(s, get(s, at) + 8, at);
	opts.flags = QCOW2_OPEN_RDWR;
	opts.overlap_check = QCOW2_OVERLAP_ALL;
	assert_int_equal(qcow2_open_store(s, &opts, &img, &err), -EINVAL);
	assert_int_not_equal(err.defect, 0);
	assert_int_equal(qcow2_close(open_rw(s, QCOW2_OVERLAP_CACHED), NULL),
			 0);
	store_unref(s);
}

/* Deleting a snapshot makes its tables free: they may hold data after it. */
TEST(tables_of_a_deleted_snapshot_are_guarded_no_more)
{
	struct qcow2_store *s = make();
	struct qcow2_image *img = open_rw(s, QCOW2_OVERLAP_ALL);
	uint8_t sector[512] = { 3 };

	assert_int_equal(qcow2_snapshot_delete(img, "one", NULL), 0);
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(qcow2_pwrite(img, sector, 512, i * CLUSTER,
					      QCOW2_FUA, NULL),
				 0);
	assert_int_equal(qcow2_close(img, NULL), 0);
	store_unref(s);
}

enum { WRITE, ZERO, UNMAP, DISCARD, COMPRESS, N_REQUESTS };

static int replace(struct qcow2_image *img, int request)
{
	static uint8_t buf[CLUSTER] = { 2 };
	uint64_t off = 4 * CLUSTER;

	switch (request) {
	case WRITE:
		return qcow2_pwrite(img, buf, CLUSTER, off, 0, NULL);
	case ZERO:
		return qcow2_zero(img, CLUSTER, off, 0, NULL);
	case UNMAP:
		return qcow2_zero(img, CLUSTER, off, QCOW2_ZERO_MAY_UNMAP,
				  NULL);
	case DISCARD:
		return qcow2_discard(img, CLUSTER, off, 0, NULL);
	default:
		return qcow2_write_compressed(img, buf, CLUSTER, off, 0, NULL);
	}
}

static uint64_t refcount_block(struct qcow2_store *s)
{
	return get(s, get(s, HEADER_OFF_REFCOUNT_TABLE_OFF));
}

/* Replacing an entry takes a reference from the cluster that it claims: a
 * refcount block that a compressed cluster claimed had none left. */
TEST(metadata_that_an_entry_claims_is_not_freed)
{
	for (int i = 0; i < 2 * N_REQUESTS; i++) {
		struct qcow2_store *s = make();
		uint64_t block = refcount_block(s);
		uint64_t in_block = block + 2 * (block / CLUSTER);
		uint64_t before = get(s, in_block);
		uint64_t entry = i % 2 ? block : block | L2_COMPRESSED;
		struct qcow2_image *img;

		put(s, entry, active_l2(s) + 8 * 4);
		img = open_rw(s, 0);
		assert_int_equal(replace(img, i / 2), -EIO);
		qcow2_close(img, NULL);
		assert_int_equal(get(s, HEADER_OFF_INCOMPAT), INCOMPAT_CORRUPT);
		assert_int_equal(get(s, in_block), before);
		store_unref(s);
	}
}
