/*
 * A write in two halves, with the bytes moved in between by the test.
 */
#include "write/carry.h"

#include <errno.h>

#include "disk_rig.h"

/* The first changes make the proof and the L2 table, and claim clusters ahead:
 * as many as after a large disk's worth of writing. */
static void init(struct disk_rig *t, struct disk_want want)
{
	disk_init(t, want);
	disk_fill(t, 1, CLUSTER, 0);
	disk_fill(t, 1, CLUSTER, CLUSTER);
	t->img->writer->alloc.window = 64;
	disk_fill(t, 1, CLUSTER, 2 * CLUSTER);
	disk_fill(t, 1, CLUSTER, 6 * CLUSTER);
}

static int begin(struct disk_rig *t, uint64_t len, uint64_t off,
		 struct carried_write *w)
{
	return carried_write_begin(t->img, len, off, w, NULL);
}

static void move(struct disk_rig *t, uint8_t byte, uint64_t len,
		 const struct carried_write *w)
{
	uint8_t *bytes = malloc(len);

	assert_non_null(bytes);
	memset(bytes, byte, len);
	assert_int_equal(
		store_pwrite(t->img->data, bytes, len, w->host_off, 0, NULL),
		0);
	free(bytes);
}

TEST(an_overwrite_goes_where_the_bytes_are)
{
	struct carried_write w;
	struct disk_rig t;

	init(&t, (struct disk_want){ 0 });
	assert_int_equal(begin(&t, 4096, 512, &w), 0);
	assert_int_equal(w.look.kind, LOOK_IN_PLACE);
	carried_write_validate(&w);
	move(&t, 7, 4096, &w);
	assert_int_equal(carried_write_end(&w, 0, 0, NULL), 0);
	disk_expect(&t, 1, 512, 0);
	disk_expect(&t, 7, 4096, 512);
	disk_expect(&t, 1, 512, 4608);
	disk_release(&t);
}

TEST(new_clusters_are_seen_when_the_write_ends)
{
	struct carried_write w;
	struct disk_rig t;

	init(&t, (struct disk_want){ 0 });
	assert_int_equal(begin(&t, 4096, 4 * CLUSTER + 8192, &w), 0);
	assert_int_equal(w.look.kind, LOOK_NEW);
	carried_write_validate(&w);
	move(&t, 7, 4096, &w);
	disk_expect(&t, 0, CLUSTER, 4 * CLUSTER);
	assert_int_equal(disk_entry(&t, 4).desc, 0);
	assert_int_equal(carried_write_end(&w, 0, QCOW2_NOWAIT, NULL), 0);
	disk_expect(&t, 0, 8192, 4 * CLUSTER);
	disk_expect(&t, 7, 4096, 4 * CLUSTER + 8192);
	disk_release(&t);
}

TEST(a_write_whose_bytes_did_not_arrive_leaves_nothing)
{
	struct carried_write w;
	struct disk_rig t;

	init(&t, (struct disk_want){ 0 });
	assert_int_equal(begin(&t, CLUSTER, 4 * CLUSTER, &w), 0);
	assert_int_equal(carried_write_end(&w, -ENOSPC, 0, NULL), -ENOSPC);
	disk_expect(&t, 0, CLUSTER, 4 * CLUSTER);
	assert_int_equal(disk_entry(&t, 4).desc, 0);
	/* The place is free again, and the range as well. */
	assert_int_equal(begin(&t, CLUSTER, 4 * CLUSTER, &w), 0);
	move(&t, 9, CLUSTER, &w);
	assert_int_equal(carried_write_end(&w, 0, 0, NULL), 0);
	disk_expect(&t, 9, CLUSTER, 4 * CLUSTER);
	disk_release(&t);
}

TEST(the_range_is_in_flight_in_between)
{
	struct carried_write w, other;
	struct disk_rig t;

	init(&t, (struct disk_want){ 0 });
	assert_int_equal(begin(&t, 512, 4 * CLUSTER, &w), 0);
	/* Its whole cluster changes. */
	assert_int_equal(begin(&t, 512, 4 * CLUSTER + 4096, &other), -EAGAIN);
	assert_int_equal(qcow2_pwrite(t.disk, "x", 1, 5 * CLUSTER - 1,
				      QCOW2_NOWAIT, NULL),
			 -EAGAIN);
	assert_int_equal(begin(&t, 512, 0, &other), 0);
	move(&t, 8, 512, &other);
	assert_int_equal(carried_write_end(&other, 0, 0, NULL), 0);
	move(&t, 7, 512, &w);
	assert_int_equal(carried_write_end(&w, 0, 0, NULL), 0);
	disk_expect(&t, 7, 512, 4 * CLUSTER);
	disk_expect(&t, 8, 512, 0);
	disk_release(&t);
}

/* Others have to be written with calls, which wait. */
TEST(a_write_that_would_wait_is_not_begun)
{
	static const struct {
		struct disk_want want;
		uint64_t off, len;
	} t[] = {
		/* Over a backing file the rest of the cluster is copied. */
		{ { .backing = true }, 4 * CLUSTER, 512 },
		/* One part in place, one that is new. */
		{ { 0 }, 3 * CLUSTER - 512, 1024 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct carried_write w;
		struct disk_rig rig;

		init(&rig, t[i].want);
		assert_int_equal(begin(&rig, t[i].len, t[i].off, &w), -EAGAIN);
		disk_fill(&rig, 5, t[i].len, t[i].off);
		disk_expect(&rig, 5, t[i].len, t[i].off);
		disk_release(&rig);
	}
}

TEST(the_first_change_is_not_begun)
{
	struct carried_write w;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(begin(&t, 512, 0, &w), -EAGAIN);
	disk_fill(&t, 1, 512, 0);
	assert_int_equal(begin(&t, 512, 0, &w), 0);
	move(&t, 2, 512, &w);
	assert_int_equal(carried_write_end(&w, 0, 0, NULL), 0);
	disk_expect(&t, 2, 512, 0);
	disk_release(&t);
}

TEST(whole_clusters_over_a_backing_file_copy_nothing)
{
	struct carried_write w;
	struct disk_rig t;

	init(&t, (struct disk_want){ .backing = true });
	assert_int_equal(begin(&t, CLUSTER, 4 * CLUSTER, &w), 0);
	move(&t, 3, CLUSTER, &w);
	disk_expect(&t, 0xbb, CLUSTER, 4 * CLUSTER);
	assert_int_equal(carried_write_end(&w, 0, 0, NULL), 0);
	disk_expect(&t, 3, CLUSTER, 4 * CLUSTER);
	disk_expect(&t, 0xbb, CLUSTER, 5 * CLUSTER);
	disk_release(&t);
}

TEST(a_snapshots_cluster_is_replaced)
{
	struct carried_write w;
	struct disk_rig t;

	init(&t, (struct disk_want){ 0 });
	assert_int_equal(qcow2_snapshot_create(t.disk, "s", NULL, NULL), 0);
	/* The table has to be copied first. */
	assert_int_equal(begin(&t, CLUSTER, 0, &w), -EAGAIN);
	disk_fill(&t, 2, CLUSTER, CLUSTER);
	assert_int_equal(begin(&t, CLUSTER, 0, &w), 0);
	assert_int_equal(w.look.kind, LOOK_NEW);
	move(&t, 3, CLUSTER, &w);
	disk_expect(&t, 1, CLUSTER, 0);
	assert_int_equal(carried_write_end(&w, 0, 0, NULL), 0);
	disk_expect(&t, 3, CLUSTER, 0);
	assert_int_equal(qcow2_snapshot_apply(t.disk, "s", NULL), 0);
	disk_expect(&t, 1, 2 * CLUSTER, 0);
	disk_release(&t);
}

TEST(validators_know_a_range_that_is_too_small)
{
	struct carried_write w;
	struct disk_rig t;

	init(&t, (struct disk_want){ 0 });
	assert_int_equal(begin(&t, 4096, 0, &w), 0);
	ASSERT_ABORTS(w.range.end--; carried_write_validate(&w));
	ASSERT_ABORTS(w.host_off += 512; carried_write_validate(&w));
	assert_int_equal(carried_write_end(&w, 0, 0, NULL), 0);
	disk_release(&t);
}
