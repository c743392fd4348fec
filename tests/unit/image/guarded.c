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

	opts.flags = QCOW2_OPEN_RDWR;
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

static void each_template_guards_its_sections(void **state)
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

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int victim = 0; victim < 3; victim++) {
			struct qcow2_store *s = make();
			uint64_t at[] = { get(s, HEADER_OFF_L1_OFF),
					  active_l2(s), snapshot_l2(s) };
			bool want[] = { rows[i].guards_l1, rows[i].guards_l2,
					rows[i].guards_inactive_l2 };

			assert_int_equal(write_over(s, at[victim],
						    rows[i].sections),
					 want[victim] ? -EIO : 0);
			if (want[victim])
				assert_int_equal(get(s, HEADER_OFF_INCOMPAT),
						 INCOMPAT_CORRUPT);
			store_unref(s);
		}
	}
}

/* Deleting a snapshot makes its tables free: they may hold data after it. */
static void tables_of_a_deleted_snapshot_are_guarded_no_more(void **state)
{
	struct qcow2_store *s = make();
	struct qcow2_image *img = open_rw(s, QCOW2_OVERLAP_ALL);
	uint8_t sector[512] = { 3 };

	(void)state;
	assert_int_equal(qcow2_snapshot_delete(img, "one", NULL), 0);
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(qcow2_pwrite(img, sector, 512, i * CLUSTER,
					      QCOW2_FUA, NULL),
				 0);
	assert_int_equal(qcow2_close(img, NULL), 0);
	store_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_template_guards_its_sections),
		cmocka_unit_test(tables_of_a_deleted_snapshot_are_guarded_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
