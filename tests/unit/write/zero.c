#include "disk_rig.h"

static void zero(struct disk_rig *t, uint64_t len, uint64_t off, unsigned flags)
{
	assert_int_equal(qcow2_zero(t->disk, len, off, flags, NULL), 0);
}

TEST(whole_clusters_become_zero_by_flag_and_keep_their_place)
{
	struct l2_entry before, after;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, 3 * CLUSTER, 0);
	before = disk_entry(&t, 1);
	zero(&t, CLUSTER, CLUSTER, 0);
	after = disk_entry(&t, 1);
	assert_int_equal(after.desc, before.desc | L2_ZERO);
	disk_expect(&t, 7, CLUSTER, 0);
	disk_expect(&t, 0, CLUSTER, CLUSTER);
	disk_expect(&t, 7, CLUSTER, 2 * CLUSTER);
	disk_release(&t);
}

TEST(unmapping_frees_the_place_once_it_is_durable)
{
	uint64_t host_off;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, CLUSTER, 0);
	host_off = l2_host_off(disk_entry(&t, 0));
	zero(&t, CLUSTER, 0, QCOW2_ZERO_MAY_UNMAP);
	assert_int_equal(disk_entry(&t, 0).desc, L2_ZERO);
	assert_int_equal(disk_count(&t, host_off), 1);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, host_off), 0);
	disk_release(&t);
}

/* Clusters of a data file have their place for ever; unmapping gives back the
 * space of it. */
TEST(unmapping_makes_holes_in_a_data_file)
{
	uint64_t bytes;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){
			      .data_file = true,
			      .discard = QCOW2_DISCARD_REQUEST,
		      });
	disk_fill(&t, 7, 4 * CLUSTER, 0);
	zero(&t, CLUSTER, 0, 0);
	assert_int_equal(store_allocated(t.data, &bytes, NULL), 0);
	assert_int_equal(bytes, 4 * CLUSTER);
	zero(&t, 2 * CLUSTER + 512, CLUSTER, QCOW2_ZERO_MAY_UNMAP);
	assert_int_equal(store_allocated(t.data, &bytes, NULL), 0);
	assert_int_equal(bytes, 2 * CLUSTER);
	disk_expect(&t, 0, 3 * CLUSTER + 512, 0);
	disk_expect(&t, 7, CLUSTER - 512, 3 * CLUSTER + 512);
	disk_release(&t);
}

TEST(parts_of_clusters_are_written)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, 2 * CLUSTER, 0);
	zero(&t, CLUSTER, 512, 0);
	disk_expect(&t, 7, 512, 0);
	disk_expect(&t, 0, CLUSTER, 512);
	disk_expect(&t, 7, CLUSTER - 512, CLUSTER + 512);
	disk_release(&t);
}

TEST(who_wants_no_fallback_is_told)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, CLUSTER, 0);
	assert_int_equal(
		qcow2_zero(t.disk, 512, 0, QCOW2_ZERO_NO_FALLBACK, NULL),
		-ENOTSUP);
	disk_expect(&t, 7, CLUSTER, 0);
	/* Zeros that are already there need no fallback. */
	assert_int_equal(
		qcow2_zero(t.disk, 512, CLUSTER, QCOW2_ZERO_NO_FALLBACK, NULL),
		0);
	disk_release(&t);
}

TEST(zeros_hide_the_backing_file)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	zero(&t, CLUSTER + 512, CLUSTER, 0);
	disk_expect(&t, 0xbb, CLUSTER, 0);
	disk_expect(&t, 0, CLUSTER + 512, CLUSTER);
	disk_expect(&t, 0xbb, CLUSTER - 512, 2 * CLUSTER + 512);
	assert_int_equal(disk_entry(&t, 1).desc, L2_ZERO);
	disk_release(&t);
}

TEST(version_2_writes_what_it_cannot_flag)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .version = 2, .backing = true });
	zero(&t, CLUSTER, 0, 0);
	disk_expect(&t, 0, CLUSTER, 0);
	assert_int_not_equal(l2_host_off(disk_entry(&t, 0)), 0);
	disk_release(&t);
	disk_init(&t, (struct disk_want){ .version = 2 });
	disk_fill(&t, 7, CLUSTER, 0);
	zero(&t, CLUSTER, 0, 0);
	disk_expect(&t, 0, CLUSTER, 0);
	assert_int_equal(disk_entry(&t, 0).desc, 0);
	disk_release(&t);
}

TEST(subclusters_become_zero_by_their_bits)
{
	enum { SUB = CLUSTER / 32 };
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2 });
	disk_fill(&t, 7, CLUSTER, 0);
	zero(&t, 4 * SUB, 2 * SUB, QCOW2_ZERO_NO_FALLBACK);
	assert_int_equal(disk_entry(&t, 0).bitmap,
			 (SUB_ALL_ALLOC & ~SUB_ALLOC_RANGE(2, 6)) |
				 SUB_ZERO_RANGE(2, 6));
	disk_expect(&t, 7, 2 * SUB, 0);
	disk_expect(&t, 0, 4 * SUB, 2 * SUB);
	disk_expect(&t, 7, CLUSTER - 6 * SUB, 6 * SUB);
	disk_release(&t);
}

TEST(the_last_cluster_is_whole_where_the_disk_ends)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	disk_fill(&t, 7, 512, 8 * CLUSTER);
	zero(&t, 512, 8 * CLUSTER, QCOW2_ZERO_NO_FALLBACK);
	assert_true(disk_entry(&t, 8).desc & L2_ZERO);
	disk_expect(&t, 0, 512, 8 * CLUSTER);
	disk_release(&t);
}

TEST(a_raw_data_file_gets_the_zeros_themselves)
{
	uint8_t bytes[512];
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_DATA_FILE_RAW,
					  .data_file = true });
	disk_fill(&t, 7, CLUSTER, 0);
	zero(&t, CLUSTER, 0, 0);
	assert_int_equal(store_pread(t.data, bytes, 512, 0, 0, NULL), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(bytes[i], 0);
	disk_release(&t);
}

/* The bytes that the backing file has at [off, off + len) become a hole. */
static void empty_below(struct disk_rig *t, uint64_t len, uint64_t off)
{
	assert_int_equal(
		store_zero(t->below, len, off, QCOW2_STORE_UNMAP, NULL), 0);
}

/* S7: nothing is allocated for zeros among zeros. */
TEST(a_part_among_zeros_makes_its_cluster_zero)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	empty_below(&t, 2 * CLUSTER, CLUSTER);
	zero(&t, 4096, CLUSTER + 4096, QCOW2_ZERO_NO_FALLBACK);
	assert_int_equal(disk_entry(&t, 1).desc, L2_ZERO);
	disk_expect(&t, 0, CLUSTER, CLUSTER);
	zero(&t, 4096, 3 * CLUSTER - 4096, QCOW2_ZERO_MAY_UNMAP);
	assert_int_equal(disk_entry(&t, 2).desc, L2_ZERO);
	/* If the rest has data, nothing of it may go. */
	assert_int_equal(
		qcow2_zero(t.disk, 4096, 4096, QCOW2_ZERO_NO_FALLBACK, NULL),
		-ENOTSUP);
	zero(&t, 4096, 4096, 0);
	assert_int_not_equal(l2_host_off(disk_entry(&t, 0)), 0);
	disk_expect(&t, 0xbb, 4096, 0);
	disk_expect(&t, 0, 4096, 4096);
	disk_expect(&t, 0xbb, CLUSTER - 8192, 8192);
	disk_release(&t);
}

TEST(the_data_around_a_part_decides)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	/* All zeros below the part, and data before or behind it. */
	empty_below(&t, 4096, 8192);
	empty_below(&t, CLUSTER - 4096, CLUSTER + 4096);
	empty_below(&t, CLUSTER - 4096, 2 * CLUSTER);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t off = i * CLUSTER;

		zero(&t, 512, off + 8192, 0);
		disk_expect(&t, 0, 512, off + 8192);
		assert_int_not_equal(l2_host_off(disk_entry(&t, i)), 0);
	}
	disk_expect(&t, 0xbb, 8192, 0);
	disk_expect(&t, 0xbb, 4096, CLUSTER);
	disk_expect(&t, 0xbb, 4096, 3 * CLUSTER - 4096);
	disk_release(&t);
}

TEST(a_part_among_zeros_makes_its_subcluster_zero)
{
	enum { SUB = CLUSTER / 32 };
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2,
					  .backing = true });
	empty_below(&t, 2 * SUB, 2 * SUB);
	zero(&t, 100, 3 * SUB + 7, QCOW2_ZERO_NO_FALLBACK);
	assert_true(disk_entry(&t, 0).bitmap == SUB_ZERO(3));
	disk_expect(&t, 0xbb, 2 * SUB, 0);
	disk_expect(&t, 0, 2 * SUB, 2 * SUB);
	disk_expect(&t, 0xbb, CLUSTER - 4 * SUB, 4 * SUB);
	/* From the middle of one with data to the middle of one of zeros. */
	empty_below(&t, 2 * SUB, 12 * SUB);
	zero(&t, 2 * SUB, 10 * SUB + 100, 0);
	assert_true(disk_entry(&t, 0).bitmap == (SUB_ZERO(3) | SUB_ALLOC(10) |
						 SUB_ZERO(11) | SUB_ZERO(12)));
	disk_expect(&t, 0xbb, 100, 10 * SUB);
	disk_expect(&t, 0, 3 * SUB - 100, 10 * SUB + 100);
	disk_release(&t);
}

/* S6 */
TEST(subclusters_of_a_compressed_cluster_become_zero)
{
	enum { SUB = CLUSTER / 32 };
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2 });
	disk_compress(&t, 7, 0);
	assert_int_equal(qcow2_zero(t.disk, 2 * SUB, 4 * SUB,
				    QCOW2_ZERO_NO_FALLBACK, NULL),
			 -ENOTSUP);
	assert_true(disk_entry(&t, 0).desc & L2_COMPRESSED);
	zero(&t, 2 * SUB + 512, 4 * SUB, 0);
	assert_true(disk_entry(&t, 0).bitmap ==
		    ((SUB_ALL_ALLOC & ~SUB_ALLOC_RANGE(4, 6)) |
		     SUB_ZERO_RANGE(4, 6)));
	disk_expect(&t, 7, 4 * SUB, 0);
	disk_expect(&t, 0, 2 * SUB + 512, 4 * SUB);
	disk_expect(&t, 7, CLUSTER - 6 * SUB - 512, 6 * SUB + 512);
	disk_release(&t);
}
