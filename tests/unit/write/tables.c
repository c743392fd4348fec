#include "write/tables.h"

#include "disk_rig.h"

static uint64_t table(struct disk_rig *t)
{
	return map_l1_entry(&t->img->map, 0);
}

TEST(a_disk_without_table_gets_one)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(table(&t), 0);
	assert_int_equal(tables_make(t.img, 3 * CLUSTER, NULL), 0);
	assert_true(table(&t) & ENTRY_COPIED);
	assert_int_equal(disk_count(&t, l1_table_off(table(&t))), 1);
	disk_expect(&t, 0, DISK, 0);
	disk_release(&t);
}

TEST(a_table_that_is_there_stays)
{
	struct disk_rig t;
	uint64_t before;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	before = table(&t);
	assert_int_equal(tables_make(t.img, 5 * CLUSTER, NULL), 0);
	assert_int_equal(table(&t), before);
	disk_release(&t);
}

TEST(what_a_snapshot_has_too_is_copied)
{
	struct disk_rig t;
	uint64_t before;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	before = table(&t);
	assert_false(before & ENTRY_COPIED);
	assert_int_equal(disk_count(&t, l1_table_off(before)), 2);
	assert_int_equal(tables_make(t.img, 0, NULL), 0);
	assert_int_not_equal(l1_table_off(table(&t)), l1_table_off(before));
	assert_true(table(&t) & ENTRY_COPIED);
	/* The snapshot's reference is left, once the entry is durable. */
	assert_int_equal(disk_count(&t, l1_table_off(before)), 2);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, l1_table_off(before)), 1);
	disk_expect(&t, 1, CLUSTER, 0);
	disk_release(&t);
}

TEST(an_entry_that_points_nowhere_is_not_followed)
{
	struct qcow2_error err = { 0 };
	struct disk_rig t;
	uint64_t before;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	before = table(&t);
	t.img->map.l1.entries[0] = CLUSTER / 2;
	assert_int_equal(tables_make(t.img, 0, &err), -EIO);
	assert_true(err.defect != 0);
	/* Durable before the error: nothing is changed any more. */
	assert_true(t.img->header.incompatible_features & INCOMPAT_CORRUPT);
	assert_true(qcow2_pwrite(t.disk, "x", 1, 0, 0, NULL) < 0);
	t.img->map.l1.entries[0] = before;
	assert_int_not_equal(qcow2_close(t.disk, NULL), 0);
	store_unref(t.file);
	store_unref(t.mem);
}

TEST(a_copy_that_fails_leaves_the_table)
{
	struct disk_rig t;
	bool fired = true;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	for (uint64_t nth = 1; fired; nth++) {
		const struct fault_plan plan = {
			.ops = FAULT_ON(STORE_OP_READ) |
			       FAULT_ON(STORE_OP_WRITE),
			.nth = nth,
			.code = -ENOSPC,
		};
		uint64_t before = table(&t);
		int rc;

		fault_arm(&t.fault, &plan);
		rc = tables_make(t.img, 0, NULL);
		fired = fault_fired(&t.fault) > 0;
		fault_arm(&t.fault, NULL);
		assert_int_equal(rc, fired ? -ENOSPC : 0);
		if (fired)
			assert_int_equal(table(&t), before);
		disk_expect(&t, 1, CLUSTER, 0);
	}
	disk_release(&t);
}
