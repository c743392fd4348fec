#include "disk_rig.h"

TEST(clusters_are_packed_and_read_back)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	for (unsigned i = 0; i < 4; i++)
		disk_compress(&t, (uint8_t)(i + 1), i);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(disk_entry(&t, i).desc & L2_COMPRESSED);
		disk_expect(&t, (uint8_t)(i + 1), CLUSTER, i * CLUSTER);
	}
	assert_int_equal(disk_count(&t, disk_entry(&t, 3).desc &
						t.img->geo.coffset_mask),
			 4);
	disk_release(&t);
}

TEST(what_does_not_shrink_is_stored_plain)
{
	struct test_rng rng = test_rng_init(1);
	uint8_t *bytes = malloc(2 * CLUSTER);
	struct disk_rig t;

	assert_non_null(bytes);
	test_rng_fill(&rng, bytes, CLUSTER);
	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(
		qcow2_write_compressed(t.disk, bytes, CLUSTER, 0, 0, NULL), 0);
	assert_false(disk_entry(&t, 0).desc & L2_COMPRESSED);
	assert_int_equal(
		qcow2_pread(t.disk, bytes + CLUSTER, CLUSTER, 0, 0, NULL), 0);
	assert_memory_equal(bytes, bytes + CLUSTER, CLUSTER);
	disk_release(&t);
	free(bytes);
}

TEST(only_whole_clusters_or_the_end_of_the_disk)
{
	uint8_t *bytes = calloc(1, CLUSTER);
	struct disk_rig t;

	assert_non_null(bytes);
	disk_init(&t, (struct disk_want){ .backing = true });
	assert_int_equal(qcow2_write_compressed(t.disk, bytes, 512, 0, 0, NULL),
			 -EINVAL);
	assert_int_equal(
		qcow2_write_compressed(t.disk, bytes, CLUSTER, 512, 0, NULL),
		-EINVAL);
	assert_int_equal(qcow2_write_compressed(t.disk, bytes, 512, 8 * CLUSTER,
						0, NULL),
			 0);
	disk_expect(&t, 0, 512, 8 * CLUSTER);
	disk_release(&t);
	free(bytes);
}

TEST(a_data_file_has_no_compressed_clusters)
{
	uint8_t *bytes = calloc(1, CLUSTER);
	struct disk_rig t;

	assert_non_null(bytes);
	disk_init(&t, (struct disk_want){ .data_file = true });
	assert_int_equal(
		qcow2_write_compressed(t.disk, bytes, CLUSTER, 0, 0, NULL),
		-ENOTSUP);
	disk_release(&t);
	free(bytes);
}

TEST(writing_into_a_compressed_cluster_copies_the_rest)
{
	uint64_t first;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_compress(&t, 7, 0);
	first = disk_entry(&t, 0).desc & t.img->geo.coffset_mask;
	disk_fill(&t, 9, 512, 1024);
	assert_false(disk_entry(&t, 0).desc & L2_COMPRESSED);
	disk_expect(&t, 7, 1024, 0);
	disk_expect(&t, 9, 512, 1024);
	disk_expect(&t, 7, CLUSTER - 1536, 1536);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, first), 0);
	disk_release(&t);
}

TEST(a_failed_write_leaves_the_old_contents_and_no_trace)
{
	struct fault_plan fail = { .ops = FAULT_ON(STORE_OP_WRITE),
				   .nth = 1,
				   .code = -EIO };
	uint8_t *bytes = calloc(1, CLUSTER);
	struct disk_rig t;

	assert_non_null(bytes);
	disk_init(&t, (struct disk_want){ 0 });
	disk_compress(&t, 7, 0);
	fault_arm(&t.fault, &fail);
	assert_int_equal(
		qcow2_write_compressed(t.disk, bytes, CLUSTER, 0, 0, NULL),
		-EIO);
	disk_expect(&t, 7, CLUSTER, 0);
	disk_release(&t);
	free(bytes);
}
