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

/* ---- The level ----------------------------------------------------------- */

/* Bytes that a higher level makes smaller. */
static void write_echoes(struct disk_rig *t, uint64_t cluster_idx)
{
	struct test_rng rng = test_rng_init(7);
	uint8_t *bytes = malloc(CLUSTER);

	assert_non_null(bytes);
	test_rng_fill(&rng, bytes, 3000);
	for (size_t at = 3000; at < CLUSTER;) {
		size_t len = 4 + test_rng_below(&rng, 60);
		size_t back = 1 + test_rng_below(&rng, 3000);

		for (; len && at < CLUSTER; len--, at++)
			bytes[at] = bytes[at - back];
	}
	assert_int_equal(qcow2_write_compressed(t->disk, bytes, CLUSTER,
						cluster_idx * CLUSTER, 0, NULL),
			 0);
	free(bytes);
}

static uint32_t sectors_of(struct disk_rig *t, uint64_t cluster_idx)
{
	return compressed_decode(&t->img->geo, disk_entry(t, cluster_idx).desc)
		.len;
}

TEST(the_level_can_be_set_at_any_time)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	write_echoes(&t, 0);
	assert_int_equal(qcow2_set_compress_level(t.disk, 1, NULL), 0);
	write_echoes(&t, 1);
	assert_int_equal(qcow2_set_compress_level(t.disk, 9, NULL), 0);
	write_echoes(&t, 2);
	assert_int_equal(qcow2_set_compress_level(t.disk, 0, NULL), 0);
	write_echoes(&t, 3);
	assert_true(sectors_of(&t, 1) > sectors_of(&t, 0));
	assert_true(sectors_of(&t, 1) > sectors_of(&t, 2));
	assert_in_range(sectors_of(&t, 3), sectors_of(&t, 0) - 512,
			sectors_of(&t, 0) + 512);
	disk_release(&t);
}

TEST(levels_that_are_none_change_nothing)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(qcow2_set_compress_level(t.disk, 1, NULL), 0);
	assert_int_equal(qcow2_set_compress_level(t.disk, 10, NULL), -EINVAL);
	assert_int_equal(qcow2_set_compress_level(NULL, 1, NULL), -EINVAL);
	assert_int_equal(t.img->writer->encoders.level, 1);
	disk_release(&t);
}

TEST(fast_levels_are_taken_if_there_are_any)
{
	struct disk_rig t;
	int want = qcow2_supports(QCOW2_CAP_FAST_LEVELS) ? 0 : -ENOTSUP;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(
		qcow2_set_compress_level(t.disk, QCOW2_LEVEL_FAST(2), NULL),
		want);
	write_echoes(&t, 0);
	assert_true(disk_entry(&t, 0).desc & L2_COMPRESSED);
	disk_release(&t);
}

TEST(an_image_that_is_read_has_no_level)
{
	struct qcow2_image *reader;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(qcow2_open_store(t.mem, NULL, &reader, NULL), 0);
	assert_int_equal(qcow2_set_compress_level(reader, 1, NULL), -EBADF);
	assert_int_equal(qcow2_close(reader, NULL), 0);
	disk_release(&t);
}

TEST(a_compaction_has_a_level_of_its_own)
{
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_compact_result result = QCOW2_COMPACT_RESULT_INIT;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, CLUSTER, 0);
	assert_int_equal(qcow2_set_compress_level(t.disk, 2, NULL), 0);
	opts.flags = QCOW2_COMPACT_COMPRESS;
	opts.compress_level = 9;
	assert_int_equal(qcow2_compact(t.disk, &opts, &result, NULL), 0);
	assert_int_equal(result.clusters_compressed, 1);
	assert_int_equal(t.img->writer->encoders.level, 2);
	disk_release(&t);
}

TEST(a_conversion_has_a_level_of_its_own)
{
	struct qcow2_convert_opts opts = QCOW2_CONVERT_OPTS_INIT;
	struct disk_rig src, t;

	disk_init(&src, (struct disk_want){ 0 });
	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&src, 3, CLUSTER, 0);
	assert_int_equal(qcow2_set_compress_level(t.disk, 2, NULL), 0);
	opts.flags = QCOW2_CONVERT_COMPRESS;
	opts.compress_level = 9;
	assert_int_equal(qcow2_convert_into(src.disk, t.disk, &opts, NULL), 0);
	assert_true(disk_entry(&t, 0).desc & L2_COMPRESSED);
	assert_int_equal(t.img->writer->encoders.level, 2);
	disk_release(&t);
	disk_release(&src);
}
