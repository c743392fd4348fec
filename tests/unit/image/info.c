#include "unit/write/disk_rig.h"

static struct qcow2_info info_of(struct disk_rig *t)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };

	image_get_info(t->img, &info);
	return info;
}

TEST(a_plain_image_says_what_it_is)
{
	struct qcow2_info info;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	info = info_of(&t);
	assert_int_equal(info.format, QCOW2_FORMAT_QCOW2);
	assert_int_equal(info.version, 3);
	assert_int_equal(info.virtual_size, DISK);
	assert_int_equal(info.cluster_size, CLUSTER);
	assert_int_equal(info.refcount_bits, 16);
	assert_int_equal(info.compression, QCOW2_COMPRESSION_ZLIB);
	assert_true(info.self_contained);
	assert_false(info.dirty || info.corrupt || info.lazy_refcounts);
	assert_null(info.backing_file);
	assert_null(info.data_file);
	disk_release(&t);
}

TEST(other_files_are_named)
{
	struct qcow2_info info;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	info = info_of(&t);
	assert_string_equal(info.backing_file, "below");
	assert_string_equal(info.backing_format, "raw");
	assert_false(info.self_contained);
	disk_release(&t);
	disk_init(&t, (struct disk_want){ .data_file = true });
	info = info_of(&t);
	assert_string_equal(info.data_file, "data");
	assert_true(info.has_data_file);
	assert_false(info.self_contained);
	disk_release(&t);
}

TEST(what_changes_while_it_is_open_is_seen)
{
	struct disk_rig t;

	disk_init(&t,
		  (struct disk_want){ .flags = QCOW2_CREATE_LAZY_REFCOUNTS });
	assert_true(info_of(&t).lazy_refcounts);
	assert_false(info_of(&t).dirty);
	disk_fill(&t, 1, CLUSTER, 0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_true(info_of(&t).dirty);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	assert_int_equal(info_of(&t).n_snapshots, 1);
	assert_int_equal(qcow2_resize(t.disk, 20 * CLUSTER, NULL, NULL), 0);
	assert_int_equal(info_of(&t).virtual_size, 20 * CLUSTER);
	disk_release(&t);
}
