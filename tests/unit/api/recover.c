/*
 * An image comes back to taking changes after a flush that failed, or says why
 * it cannot.
 */
#include "unit/write/disk_rig.h"
#include "write/features.h"

static void fail_all(struct disk_rig *t, unsigned ops, int code)
{
	const struct fault_plan plan = {
		.ops = ops, .nth = 1, .persistent = true, .code = code
	};

	fault_arm(&t->fault, &plan);
}

static void expect_lost(struct qcow2_image *img)
{
	struct qcow2_error err = { 0 };

	assert_int_equal(qcow2_recover(img, &err), -EIO);
	assert_int_equal(err.code, -EIO);
	assert_int_equal(err.reason, QCOW2_REASON_LOST);
	/* Not even when the caller thinks that there is room again. */
	assert_int_equal(err.flags & QCOW2_ERROR_RETRY, 0);
}

TEST(with_nothing_to_do_it_is_a_flush)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	assert_int_equal(qcow2_recover(t.disk, NULL), 0);
	disk_fill(&t, 3, CLUSTER, 0);
	assert_int_equal(qcow2_recover(t.disk, NULL), 0);
	disk_expect(&t, 3, CLUSTER, 0);
	disk_release(&t);
}

TEST(a_full_host_costs_nothing_once_there_is_room)
{
	struct disk_rig t;
	struct qcow2_error err = { 0 };

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, 4 * CLUSTER, 0);
	fail_all(&t, FAULT_ON(STORE_OP_WRITE), -ENOSPC);
	assert_int_equal(qcow2_flush(t.disk, NULL), -ENOSPC);
	assert_int_equal(qcow2_recover(t.disk, &err), -ENOSPC);
	assert_int_equal(err.reason, QCOW2_REASON_NONE);
	assert_true(err.flags & QCOW2_ERROR_RETRY);
	fault_arm(&t.fault, NULL);
	assert_int_equal(qcow2_recover(t.disk, NULL), 0);
	disk_fill(&t, 4, CLUSTER, 0);
	disk_expect(&t, 3, 3 * CLUSTER, CLUSTER);
	disk_release(&t);
}

/* What was flushed before is there; the rest is what nobody can tell. */
TEST(a_failed_barrier_is_the_end_whatever_its_error)
{
	const int codes[] = { -EIO, -ENOSPC, -EDQUOT };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct disk_rig t;

		disk_init(&t, (struct disk_want){ 0 });
		disk_fill(&t, 3, CLUSTER, 0);
		assert_int_equal(qcow2_flush(t.disk, NULL), 0);
		disk_fill(&t, 4, CLUSTER, CLUSTER);
		fail_all(&t, FAULT_ON(STORE_OP_FLUSH), codes[i]);
		/* The same when it is the one to find out. */
		if (i == 0)
			expect_lost(t.disk);
		else
			assert_int_equal(qcow2_flush(t.disk, NULL), codes[i]);
		fault_arm(&t.fault, NULL);
		expect_lost(t.disk);
		assert_true(qcow2_pwrite(t.disk, "x", 1, 0, 0, NULL) < 0);
		disk_expect(&t, 3, CLUSTER, 0);
		qcow2_close(t.disk, NULL);
		store_unref(t.file);
		t.file = store_ref(t.mem);
		assert_int_equal(
			qcow2_open_store(
				t.file,
				&(struct qcow2_open_opts){
					.struct_size =
						sizeof(struct qcow2_open_opts),
					.flags = QCOW2_OPEN_RDWR },
				&t.disk, NULL),
			0);
		disk_expect(&t, 3, CLUSTER, 0);
		assert_int_equal(qcow2_recover(t.disk, NULL), 0);
		qcow2_close(t.disk, NULL);
		store_unref(t.file);
		store_unref(t.mem);
	}
}

TEST(damage_has_to_be_repaired)
{
	struct qcow2_error err = { 0 };
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, CLUSTER, 0);
	assert_int_equal(qcow2_flush(t.disk, NULL), 0);
	features_mark_corrupt(t.img, -EIO);
	assert_int_equal(qcow2_recover(t.disk, &err), -EIO);
	assert_int_equal(err.reason, QCOW2_REASON_REPAIR);
	disk_expect(&t, 3, CLUSTER, 0);
	qcow2_close(t.disk, NULL);
	store_unref(t.file);
	store_unref(t.mem);
}

TEST(an_image_that_is_only_read_has_nothing_to_recover)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 3, CLUSTER, 0);
	assert_int_equal(qcow2_close(t.disk, NULL), 0);
	assert_int_equal(qcow2_open_store(t.file, NULL, &t.disk, NULL), 0);
	assert_int_equal(qcow2_recover(t.disk, NULL), -EBADF);
	disk_release(&t);
}

TEST(a_raw_disk_remembers_too)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct disk_rig t = { .fault = FAULT_INIT };

	opts.flags = QCOW2_OPEN_RDWR;
	opts.format = QCOW2_FORMAT_RAW;
	assert_int_equal(store_mem_new(&t.mem, NULL), 0);
	assert_int_equal(store_truncate(t.mem, DISK, NULL), 0);
	fault_arm(&t.fault, NULL);
	assert_int_equal(fault_store_new(&t.fault, t.mem, &t.file), 0);
	assert_int_equal(qcow2_open_store(t.file, &opts, &t.disk, NULL), 0);
	assert_int_equal(qcow2_recover(t.disk, NULL), 0);
	fail_all(&t, FAULT_ON(STORE_OP_FLUSH), -EIO);
	assert_int_equal(qcow2_flush(t.disk, NULL), -EIO);
	fault_arm(&t.fault, NULL);
	expect_lost(t.disk);
	qcow2_close(t.disk, NULL);
	store_unref(t.file);
	store_unref(t.mem);
}
