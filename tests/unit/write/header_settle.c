/*
 * D5: a header sector that found no room, and may be on the disk all the same.
 */
#include "base/bytes.h"
#include "disk_rig.h"
#include "reshape/header_cluster.h"
#include "reshape/header_layout.h"
#include "write/features.h"
#include "write/header_sector.h"

#define EVERYTHING UINT64_MAX

/* The next @n writes fail, though all of each happens. */
static void fail_writes(struct disk_rig *t, uint64_t n)
{
	struct fault_plan p = { .ops = FAULT_ON(STORE_OP_WRITE),
				.nth = 1,
				.more = n - 1,
				.code = -ENOSPC,
				.kind = FAULT_SHORT,
				.part = EVERYTHING };

	fault_arm(&t->fault, &p);
}

static void set_size(struct header *h, void *opaque)
{
	h->size = *(const uint64_t *)opaque;
}

static int update_size(struct disk_rig *t, uint64_t size)
{
	return header_sector_update(t->img, set_size, &size, NULL);
}

static uint64_t size_on_disk(struct disk_rig *t)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(t->mem, raw, 8, HEADER_OFF_SIZE, 0, NULL),
			 0);
	return get_be64(raw);
}

TEST(the_old_header_comes_back_at_once)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	fail_writes(&t, 1);
	assert_int_equal(update_size(&t, 4096), -ENOSPC);
	assert_true(header_sector_is_settled(t.img));
	assert_int_equal(t.img->header.size, DISK);
	assert_int_equal(size_on_disk(&t), DISK);
	disk_release(&t);
}

TEST(or_with_the_next_flush)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 7, CLUSTER, 0);
	fail_writes(&t, 2);
	assert_int_equal(update_size(&t, 4096), -ENOSPC);
	assert_false(header_sector_is_settled(t.img));
	assert_int_equal(t.img->header.size, DISK);
	fail_writes(&t, 1);
	assert_int_equal(qcow2_flush(t.disk, NULL), -ENOSPC);
	assert_int_equal(fault_seen(&t.fault), 1);
	fault_arm(&t.fault, NULL);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_true(header_sector_is_settled(t.img));
	assert_int_equal(size_on_disk(&t), DISK);
	disk_expect(&t, 7, CLUSTER, 0);
	disk_release(&t);
}

TEST(another_change_settles_it_too)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	fail_writes(&t, 2);
	assert_int_equal(update_size(&t, 4096), -ENOSPC);
	fault_arm(&t.fault, NULL);
	assert_int_equal(update_size(&t, 8192), 0);
	assert_true(header_sector_is_settled(t.img));
	assert_int_equal(size_on_disk(&t), 8192);
	assert_int_equal(update_size(&t, DISK), 0);
	disk_release(&t);
}

/* Bits that are as they should be in memory may not be so on the disk. */
TEST(a_bit_that_could_not_be_cleared_is_set_again)
{
	struct disk_rig t;
	uint8_t raw[8];

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(features_begin_dirty(t.img, DIRTY_OPERATION, NULL), 0);
	fail_writes(&t, 2);
	assert_int_equal(features_end_dirty(t.img, DIRTY_OPERATION, NULL),
			 -ENOSPC);
	memset(raw, 0, sizeof(raw));
	assert_int_equal(
		store_pwrite(t.mem, raw, 8, HEADER_OFF_INCOMPAT, 0, NULL), 0);
	fault_arm(&t.fault, NULL);
	assert_int_equal(features_begin_dirty(t.img, DIRTY_OPERATION, NULL), 0);
	assert_int_equal(
		store_pread(t.mem, raw, 8, HEADER_OFF_INCOMPAT, 0, NULL), 0);
	assert_true(get_be64(raw) & INCOMPAT_DIRTY);
	assert_int_equal(features_end_dirty(t.img, DIRTY_OPERATION, NULL), 0);
	disk_release(&t);
}

/* Names lie behind the fixed part, and other changes write only that part. */
TEST(names_that_found_no_room_go_from_the_whole_sector)
{
	struct header_cluster to;
	uint8_t before[512], after[512];
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(store_pread(t.mem, before, 512, 0, 0, NULL), 0);
	to = header_cluster_of(t.img);
	to.backing_file = "base.raw";
	to.backing_format = "raw";
	fail_writes(&t, 8);
	assert_int_equal(header_cluster_write(t.img, &to, NULL), -ENOSPC);
	fault_arm(&t.fault, NULL);
	assert_int_equal(update_size(&t, DISK), 0);
	assert_int_equal(store_pread(t.mem, after, 512, 0, 0, NULL), 0);
	assert_memory_equal(before, after, 512);
	disk_release(&t);
}

TEST(what_only_the_new_header_has_waits_in_quarantine)
{
	struct disk_rig t;
	struct claim c;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(refcounts_claim_row(&t.img->writer->refs, 2, &c, NULL),
			 0);
	fail_writes(&t, 2);
	assert_int_equal(update_size(&t, 4096), -ENOSPC);
	header_sector_unclaim(t.img, &c);
	assert_int_equal(disk_count(&t, c.host_off), 1);
	fault_arm(&t.fault, NULL);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	assert_int_equal(disk_count(&t, c.host_off), 0);
	disk_release(&t);
}

/* ---- Its validator ------------------------------------------------------- */

static void make_long(struct header *h, void *opaque)
{
	(void)opaque;
	h->cluster_bits++;
}

TEST(a_header_that_is_not_as_the_writer_says_is_found)
{
	struct writer *writer;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	writer = t.img->writer;
	features_validate(t.img);
	ASSERT_ABORTS(writer->dirty_reasons = 16; features_validate(t.img));
	ASSERT_ABORTS(writer->dirty_reasons = DIRTY_OPERATION;
		      features_validate(t.img));
	ASSERT_ABORTS(features_end_dirty(t.img, DIRTY_REPAIR, NULL));
	ASSERT_ABORTS(header_sector_update(t.img, make_long, NULL, NULL));
	disk_release(&t);
}

TEST(a_layout_that_leaves_its_window_is_found)
{
	struct header_cluster to = { .header.header_length = 104 };
	uint8_t rest[8];
	struct layout l = { .to = &to,
			    .rest = rest,
			    .rest_len = sizeof(rest),
			    .len = 512,
			    .lists = { 0, 200 },
			    .name = { 200, 512 } };

	layout_validate(&l);
	ASSERT_ABORTS(l.rest = NULL; layout_validate(&l));
	ASSERT_ABORTS(l.rest_len = 0; layout_validate(&l));
	ASSERT_ABORTS(to.header.header_length = 520; layout_validate(&l));
	ASSERT_ABORTS(l.lists.end = 513; layout_validate(&l));
	ASSERT_ABORTS(l.lists.off = 201; layout_validate(&l));
	ASSERT_ABORTS(l.name.end = 513; layout_validate(&l));
	ASSERT_ABORTS(l.name.off = 513; layout_validate(&l));
}
