#include "disk_rig.h"

static void discard(struct disk_rig *t, uint64_t len, uint64_t off)
{
	assert_int_equal(qcow2_discard(t->disk, len, off, 0, NULL), 0);
}

TEST(whole_clusters_read_as_zeros_and_lose_their_place)
{
	uint64_t host_off;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, 3 * CLUSTER, 0);
	host_off = l2_host_off(disk_entry(&t, 1));
	discard(&t, CLUSTER, CLUSTER);
	disk_expect(&t, 7, CLUSTER, 0);
	disk_expect(&t, 0, CLUSTER, CLUSTER);
	disk_expect(&t, 7, CLUSTER, 2 * CLUSTER);
	assert_int_equal(disk_count(&t, host_off), 1);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, host_off), 0);
	disk_release(&t);
}

TEST(parts_of_clusters_stay)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, 2 * CLUSTER, 0);
	discard(&t, 2 * CLUSTER - 1024, 512);
	disk_expect(&t, 7, 2 * CLUSTER, 0);
	disk_release(&t);
}

TEST(the_last_cluster_is_whole_where_the_disk_ends)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, 512, 8 * CLUSTER);
	discard(&t, 512, 8 * CLUSTER);
	disk_expect(&t, 0, 512, 8 * CLUSTER);
	disk_release(&t);
}

TEST(nothing_shines_through_from_below)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	disk_fill(&t, 7, CLUSTER, 0);
	discard(&t, 2 * CLUSTER, 0);
	disk_expect(&t, 0, 2 * CLUSTER, 0);
	disk_expect(&t, 0xbb, CLUSTER, 2 * CLUSTER);
	disk_release(&t);
}

TEST(version_2_over_a_backing_file_stays_as_it_is)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .version = 2, .backing = true });
	disk_fill(&t, 7, CLUSTER, 0);
	discard(&t, 2 * CLUSTER, 0);
	disk_expect(&t, 7, CLUSTER, 0);
	disk_expect(&t, 0xbb, CLUSTER, CLUSTER);
	disk_release(&t);
}

TEST(clusters_stay_allocated_where_the_policy_says_so)
{
	uint64_t host_off;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .discard = QCOW2_DISCARD_NO_UNREF |
						     QCOW2_DISCARD_REQUEST });
	disk_fill(&t, 7, CLUSTER, 0);
	host_off = l2_host_off(disk_entry(&t, 0));
	discard(&t, CLUSTER, 0);
	assert_int_equal(l2_host_off(disk_entry(&t, 0)), host_off);
	assert_true(disk_entry(&t, 0).desc & L2_ZERO);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, host_off), 1);
	disk_expect(&t, 0, CLUSTER, 0);
	disk_release(&t);
}

TEST(space_goes_back_only_where_the_policy_says_so)
{
	static const uint32_t policies[] = { 0, QCOW2_DISCARD_REQUEST };

	for (unsigned i = 0; i < 2; i++) {
		struct fault_plan count = { .ops = FAULT_ON(STORE_OP_ZERO) };
		struct disk_rig t;

		disk_init(&t, (struct disk_want){ .discard = policies[i] });
		disk_fill(&t, 7, 2 * CLUSTER, 0);
		assert_int_equal(qcow2_flush(t.disk, NULL), 0);
		fault_arm(&t.fault, &count);
		discard(&t, CLUSTER, 0);
		assert_int_equal(qcow2_flush(t.disk, NULL), 0);
		assert_int_equal(fault_seen(&t.fault), i);
		disk_release(&t);
	}
}

TEST(compressed_clusters_go_one_by_one)
{
	uint64_t first;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_compress(&t, 7, 0);
	disk_compress(&t, 8, 1);
	first = disk_entry(&t, 0).desc & t.img->geo.coffset_mask;
	assert_int_equal(disk_count(&t, first), 2);
	discard(&t, CLUSTER, 0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, first), 1);
	disk_expect(&t, 0, CLUSTER, 0);
	disk_expect(&t, 8, CLUSTER, CLUSTER);
	disk_release(&t);
}

/* S5: between two flushes what discards free must not pile up. */
TEST(what_discards_free_is_used_again_without_a_flush)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;
	struct qcow2_store *mem;
	uint64_t size;

	o.virtual_size = 16 << 20;
	o.cluster_size = 2 << 20;
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(store_mem_new(&mem, NULL), 0);
	assert_int_equal(qcow2_create_store(mem, NULL, &o, NULL), 0);
	assert_int_equal(qcow2_open_store(mem, &open, &img, NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(qcow2_discard(img, 2 << 20, 0, 0, NULL), 0);
		assert_int_equal(qcow2_pwrite(img, "x", 1, 0, 0, NULL), 0);
		assert_int_equal(store_size(mem, &size, NULL), 0);
		assert_true(size <= 80 << 20);
	}
	assert_int_equal(qcow2_close(img, NULL), 0);
	store_unref(mem);
}
