#include "write/change.h"

#include "disk_rig.h"

/* Odd clusters become zeros without a place; the others stay. */
static struct change every_other(const struct image *img, struct l2_entry old,
				 uint64_t guest_off, unsigned flags)
{
	(void)img;
	(void)old;
	(void)flags;
	return (struct change){ .entry = { L2_ZERO, 0 },
				.skip = guest_off / CLUSTER % 2 == 0,
				.frees = true };
}

static struct change leave(const struct image *img, struct l2_entry old,
			   uint64_t guest_off, unsigned flags)
{
	(void)img;
	(void)old;
	(void)guest_off;
	(void)flags;
	return (struct change){ .skip = true };
}

TEST(chosen_clusters_change_and_lose_their_places)
{
	struct disk_rig t;
	uint64_t places[6];

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, 6 * CLUSTER, 0);
	for (uint64_t i = 0; i < 6; i++)
		places[i] = l2_host_off(disk_entry(&t, i));
	assert_int_equal(change_clusters(t.img, 5 * CLUSTER, CLUSTER,
					 every_other, 0, NULL),
			 0);
	for (uint64_t i = 0; i < 6; i++) {
		bool changed = i == 1 || i == 3;

		disk_expect(&t, changed ? 0 : 3, CLUSTER, i * CLUSTER);
		/* Until the entry is durable nobody else gets the cluster. */
		assert_int_equal(disk_count(&t, places[i]), 1);
	}
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(disk_count(&t, places[i]), i != 1 && i != 3);
	disk_release(&t);
}

TEST(what_stays_needs_no_table)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	fault_arm(&t.fault, NULL);
	assert_int_equal(change_clusters(t.img, 8 * CLUSTER, 0, leave, 0, NULL),
			 0);
	assert_int_equal(map_l1_entry(&t.img->map, 0), 0);
	assert_int_equal(t.fault.n_seen, 0);
	disk_release(&t);
}

TEST(a_change_where_nothing_is_makes_a_table)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ .backing = true });
	assert_int_equal(change_clusters(t.img, 3 * CLUSTER, CLUSTER,
					 every_other, 0, NULL),
			 0);
	assert_int_not_equal(map_l1_entry(&t.img->map, 0), 0);
	disk_expect(&t, 0xbb, CLUSTER, 0);
	disk_expect(&t, 0, CLUSTER, CLUSTER);
	disk_expect(&t, 0xbb, CLUSTER, 2 * CLUSTER);
	disk_release(&t);
}

TEST(a_table_shared_with_a_snapshot_is_copied_first)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, 4 * CLUSTER, 0);
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	assert_int_equal(
		change_clusters(t.img, 4 * CLUSTER, 0, every_other, 0, NULL),
		0);
	disk_expect(&t, 0, CLUSTER, CLUSTER);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(qcow2_snapshot_apply(t.disk, "s", NULL), 0);
	disk_expect(&t, 3, 4 * CLUSTER, 0);
	disk_release(&t);
}

static int next_change(struct image *img, uint64_t end, uint64_t off,
		       unsigned flags, struct qcow2_error *err)
{
	return change_clusters(img, end, off, every_other, flags, err);
}

TEST(a_request_is_durable_when_that_is_asked)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, 4 * CLUSTER, 0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = l2_host_off(disk_entry(&t, 1 + 2 * i));

		assert_int_equal(change_regions(t.img, (2 + 2 * i) * CLUSTER,
						2 * i * CLUSTER, next_change,
						i ? QCOW2_FUA : 0, NULL),
				 0);
		assert_int_equal(disk_count(&t, off), i == 0);
	}
	disk_release(&t);
}

TEST(a_request_that_would_wait_says_so)
{
	struct inflight_range range;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, 4 * CLUSTER, 0);
	assert_true(inflight_enter(&t.img->writer->inflight, &range, CLUSTER,
				   2 * CLUSTER, false));
	assert_int_equal(change_regions(t.img, 4 * CLUSTER, 0, next_change,
					QCOW2_NOWAIT, NULL),
			 -EAGAIN);
	disk_expect(&t, 3, 4 * CLUSTER, 0);
	inflight_leave(&t.img->writer->inflight, &range);
	assert_int_equal(change_regions(t.img, 4 * CLUSTER, 0, next_change,
					QCOW2_NOWAIT, NULL),
			 0);
	disk_expect(&t, 0, CLUSTER, CLUSTER);
	disk_release(&t);
}

/* The table is read anew in an image that was opened just now. */
TEST(a_table_that_cannot_be_read_is_told)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, 4 * CLUSTER, 0);
	assert_int_equal(qcow2_close(t.disk, NULL), 0);
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(t.file, &open, &t.disk, NULL), 0);
	t.img = t.disk->disk->layers[0].image;
	fault_arm(&t.fault, &plan);
	assert_int_equal(
		change_clusters(t.img, 4 * CLUSTER, 0, every_other, 0, NULL),
		-EIO);
	fault_arm(&t.fault, NULL);
	disk_expect(&t, 3, 4 * CLUSTER, 0);
	disk_release(&t);
}

/* T7: a request over a disk whose L1 entries share a table would copy the table
 * for each of them, until the disk is full. */
TEST(a_request_through_too_many_shared_tables_is_refused)
{
	const uint64_t n_l1 = 16384, reach = UINT64_C(1) << 21;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct disk_rig t = { 0 };
	_Atomic uint64_t *l1;
	uint64_t table, size;

	create.virtual_size = n_l1 * reach;
	create.cluster_size = 4096;
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(store_mem_new(&t.mem, NULL), 0);
	assert_int_equal(qcow2_create_store(t.mem, NULL, &create, NULL), 0);
	t.file = store_ref(t.mem);
	assert_int_equal(qcow2_open_store(t.mem, &open, &t.disk, NULL), 0);
	t.img = t.disk->disk->layers[0].image;
	for (uint64_t off = 0; off < reach; off += 8192)
		disk_fill(&t, 1, 4096, off);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	l1 = t.img->map.l1.entries;
	table = l1_table_off(l1[0]);
	for (uint64_t i = 1; i < n_l1; i++)
		l1[i] = table;
	assert_int_equal(store_size(t.mem, &size, NULL), 0);
	assert_int_equal(qcow2_discard(t.disk, n_l1 * reach, 0, 0, &err),
			 -E2BIG);
	assert_non_null(strstr(err.message, "share L2 tables"));
	assert_int_equal(
		qcow2_zero(t.disk, (n_l1 - 5) * reach, 4 * reach, 0, NULL),
		-E2BIG);
	for (uint64_t i = 1; i < n_l1; i++)
		assert_int_equal(l1[i], table);
	/* A few tables do no harm. */
	assert_int_equal(qcow2_discard(t.disk, 4096, 0, 0, NULL), 0);
	for (uint64_t i = 1; i < n_l1; i++)
		l1[i] = 0;
	disk_release(&t);
}
