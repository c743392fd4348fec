#include "unit/write/disk_rig.h"

static struct image_extent look(struct disk_rig *t, uint64_t len, uint64_t off)
{
	struct image_extent x;

	assert_int_equal(image_map(t->img, len, off, 0, &x, NULL), 0);
	return x;
}

TEST(neighbours_of_one_kind_are_one_extent)
{
	struct image_extent x;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, 3 * CLUSTER, CLUSTER);
	x = look(&t, DISK, 0);
	assert_int_equal(x.kind, SUBCLUSTER_UNALLOCATED_PLAIN);
	assert_int_equal(x.len, CLUSTER);
	x = look(&t, DISK - CLUSTER - 700, CLUSTER + 700);
	assert_int_equal(x.kind, SUBCLUSTER_NORMAL);
	assert_int_equal(x.len, 3 * CLUSTER - 700);
	assert_int_equal(x.host_off, l2_host_off(disk_entry(&t, 1)) + 700);
	x = look(&t, 1000, CLUSTER);
	assert_int_equal(x.len, 1000);
	disk_release(&t);
}

TEST(what_lies_elsewhere_begins_anew)
{
	struct image_extent x;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, CLUSTER);
	disk_fill(&t, 1, CLUSTER, 0);
	x = look(&t, DISK, 0);
	assert_int_equal(x.kind, SUBCLUSTER_NORMAL);
	assert_int_equal(x.len, CLUSTER);
	disk_release(&t);
}

TEST(each_kind_is_told)
{
	struct image_extent x;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, 3 * CLUSTER, 0);
	assert_int_equal(qcow2_zero(t.disk, CLUSTER, CLUSTER, 0, NULL), 0);
	assert_int_equal(qcow2_zero(t.disk, CLUSTER, 2 * CLUSTER,
				    QCOW2_ZERO_MAY_UNMAP, NULL),
			 0);
	disk_compress(&t, 4, 3);
	disk_compress(&t, 5, 4);
	assert_int_equal(look(&t, DISK, 0).kind, SUBCLUSTER_NORMAL);
	x = look(&t, DISK - CLUSTER, CLUSTER);
	assert_int_equal(x.kind, SUBCLUSTER_ZERO_ALLOC);
	x = look(&t, DISK - 2 * CLUSTER, 2 * CLUSTER);
	assert_int_equal(x.kind, SUBCLUSTER_ZERO_PLAIN);
	assert_int_equal(x.len, CLUSTER);
	/* One at a time: each has a descriptor of its own. */
	x = look(&t, DISK - 3 * CLUSTER, 3 * CLUSTER);
	assert_int_equal(x.kind, SUBCLUSTER_COMPRESSED);
	assert_int_equal(x.len, CLUSTER);
	assert_true(x.desc == disk_entry(&t, 3).desc);
	x = look(&t, DISK - 5 * CLUSTER, 5 * CLUSTER);
	assert_int_equal(x.kind, SUBCLUSTER_UNALLOCATED_PLAIN);
	assert_int_equal(x.len, DISK - 5 * CLUSTER);
	disk_release(&t);
}

TEST(subclusters_are_told_apart)
{
	struct image_extent x;
	struct disk_rig t;
	const uint64_t sub = CLUSTER / 32;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2 });
	disk_fill(&t, 1, 2 * sub, 4 * sub);
	x = look(&t, DISK, 0);
	assert_int_equal(x.kind, SUBCLUSTER_UNALLOCATED_ALLOC);
	assert_int_equal(x.len, 4 * sub);
	x = look(&t, DISK - 5 * sub, 5 * sub);
	assert_int_equal(x.kind, SUBCLUSTER_NORMAL);
	assert_int_equal(x.len, sub);
	disk_release(&t);
}

static void read_extent(struct disk_rig *t, uint8_t want, uint64_t off)
{
	uint8_t a[100], b[300];
	struct iovec iov[] = { { a, sizeof(a) }, { b, sizeof(b) } };
	struct iov_cursor dst = iov_cursor_init(iov, 2);
	struct image_extent x = look(t, 400, off);

	memset(a, 0x55, sizeof(a));
	memset(b, 0x55, sizeof(b));
	assert_int_equal(image_read(t->img, &dst, 400, off, &x, 0, NULL), 0);
	for (unsigned i = 0; i < sizeof(a); i++)
		assert_int_equal(a[i], want);
	for (unsigned i = 0; i < sizeof(b); i++)
		assert_int_equal(b[i], want);
}

TEST(every_kind_fills_the_vector)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, 3 * CLUSTER, 0);
	assert_int_equal(qcow2_zero(t.disk, CLUSTER, CLUSTER, 0, NULL), 0);
	disk_compress(&t, 4, 3);
	read_extent(&t, 1, 1000);
	read_extent(&t, 0, CLUSTER + 1000);
	read_extent(&t, 4, 3 * CLUSTER + 1000);
	read_extent(&t, 4, 4 * CLUSTER - 400);
	disk_release(&t);
}

/* The image opened anew, with the entry of cluster 2 pointing nowhere. */
TEST(damage_ends_an_extent_and_begins_none)
{
	const uint8_t bad[8] = { 0x80, 0, 0x7f, 0, 0, 0, 0, 0 };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct image_extent x;
	struct disk_rig t;
	uint8_t good[8];
	uint64_t off;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, 4 * CLUSTER, 0);
	off = l1_table_off(map_l1_entry(&t.img->map, 0)) + 16;
	assert_int_equal(qcow2_close(t.disk, NULL), 0);
	assert_int_equal(store_pread(t.mem, good, 8, off, 0, NULL), 0);
	assert_int_equal(store_pwrite(t.mem, bad, 8, off, 0, NULL), 0);
	assert_int_equal(qcow2_open_store(t.file, &open, &t.disk, NULL), 0);
	t.img = t.disk->disk->layers[0].image;
	assert_int_equal(look(&t, DISK, 0).len, 2 * CLUSTER);
	assert_int_equal(image_map(t.img, CLUSTER, 2 * CLUSTER, 0, &x, &err),
			 -EIO);
	assert_true(err.defect != 0);
	assert_int_equal(look(&t, CLUSTER, 3 * CLUSTER).kind,
			 SUBCLUSTER_NORMAL);
	assert_int_equal(store_pwrite(t.mem, good, 8, off, 0, NULL), 0);
	disk_release(&t);
}

TEST(a_read_that_fails_is_told)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO };
	uint8_t buf[512];
	struct iovec iov = { buf, sizeof(buf) };
	struct iov_cursor dst = iov_cursor_init(&iov, 1);
	struct image_extent x;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	x = look(&t, 512, 0);
	fault_arm(&t.fault, &plan);
	assert_int_equal(image_read(t.img, &dst, 512, 0, &x, 0, NULL), -EIO);
	fault_arm(&t.fault, NULL);
	disk_expect(&t, 1, CLUSTER, 0);
	disk_release(&t);
}
